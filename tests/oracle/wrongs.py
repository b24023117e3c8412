"""What never happens, told by hand: each breaks one invariant."""

from __future__ import annotations

from collections.abc import Callable

from tests.oracle.tale import CERTAIN, IN_DOUBT, Tale, extent

__all__ = ["WRONG"]


def a_call_before_its_intent(tale: Tale) -> None:
    call = tale.start("interrupt")
    intent = tale.record("interrupt_requested")
    tale.end(call)
    tale.record("interrupted", of=intent)


def a_call_before_its_intent_is_durable(tale: Tale) -> None:
    tale.durable = len(tale.journal)
    tale.send("a")


def a_call_after_its_result(tale: Tale) -> None:
    tale.send("a")
    tale.end(tale.start("send", "a", 2), "cancelled")


def one_intent_for_two_calls(tale: Tale) -> None:
    intent = tale.record("interrupt_requested")
    tale.end(tale.start("interrupt"))
    tale.end(tale.start("interrupt"))
    tale.record("interrupted", of=intent)


def the_intent_of_another_frame(tale: Tale) -> None:
    intent = tale.record("input_send_requested", frame_id="a")
    tale.end(tale.start("send", "b", 1))
    tale.record("input_send_failed", of=intent, frame_id="a", error=CERTAIN)


def more_frames_than_reserved(tale: Tale) -> None:
    intent = tale.record("input_send_requested", extent=extent(1, 2))
    for number in (1, 2, 3):
        tale.end(tale.start("send", f"s{number}", number))
    tale.record("input_sent", of=intent, extent=extent(1, 3))


def two_frames_of_one_receive(tale: Tale) -> None:
    intent = tale.record("output_receive_requested")
    tale.end(tale.start("receive"))
    tale.end(tale.start("receive"))
    tale.record("output_received", of=intent)


def no_result_at_the_end(tale: Tale) -> None:
    tale.record("output_receive_requested")
    tale.close()


def two_results(tale: Tale) -> None:
    intent = tale.record("interrupt_requested")
    tale.end(tale.start("interrupt"))
    tale.record("interrupted", of=intent)
    tale.record("interrupt_failed", of=intent)


def a_result_of_nothing(tale: Tale) -> None:
    tale.record("interrupted", of="record-99")


def a_result_of_the_wrong_kind(tale: Tale) -> None:
    intent = tale.record("output_receive_requested")
    tale.end(tale.start("receive"))
    tale.record("input_sent", of=intent)


def a_result_that_names_another(tale: Tale) -> None:
    tale.receive()
    tale.journal[-1]["payload"]["effect_result_ref"] = "record-1"


def an_intent_that_names_another(tale: Tale) -> None:
    tale.record("output_receive_requested", effect_intent_ref="record-1")


def two_receives_outstanding(tale: Tale) -> None:
    tale.record("output_receive_requested")
    tale.record("output_receive_requested")


def a_success_that_was_none(tale: Tale) -> None:
    tale.send("a", "refused")


def a_connection_that_was_not_made(tale: Tale) -> None:
    tale.record("restart_requested")
    tale.connect("restart", "second")
    tale.journal[-1]["payload"]["connection_id"] = "third"


def a_hole(tale: Tale) -> None:
    tale.receive()
    del tale.journal[-2]


def a_number_twice(tale: Tale) -> None:
    tale.receive()
    tale.journal[-1]["journal_seq"] -= 1


def a_record_id_twice(tale: Tale) -> None:
    tale.receive()
    tale.record("output_fenced")
    tale.journal[-1]["record_id"] = "record-1"


def a_record_of_another_run(tale: Tale) -> None:
    tale.record("output_fenced")
    tale.journal[-1]["run_id"] = "another"


def a_frame_with_two_ends(tale: Tale) -> None:
    tale.send("a")
    tale.record("input_dropped", frame_id="a")


def a_gated_frame_forgotten(tale: Tale) -> None:
    tale.record("restart_requested")
    tale.gate("a")
    tale.close()


def a_failed_frame_that_arrived(tale: Tale) -> None:
    tale.send("a", "returned", "input_send_failed", error=CERTAIN)


def a_failed_frame_with_a_number(tale: Tale) -> None:
    tale.send("a", "refused", "input_send_failed", error=CERTAIN)
    tale.standing["send_cursor"] = 1
    tale.close()


def an_extent_that_did_not_go(tale: Tale) -> None:
    intent = tale.record("input_send_requested", extent=extent(1, 5))
    tale.end(tale.start("send", "s1", 1))
    tale.record("input_sent", of=intent, extent=extent(1, 2))


def a_queue_that_the_records_do_not_hold(tale: Tale) -> None:
    tale.record("restart_requested")
    tale.queue["queued_frames"] = 1
    tale.record("backpressure_applied", frame_id="a")
    tale.record("restart_started")


def a_later_frame_first(tale: Tale) -> None:
    one = tale.record("input_send_requested", frame_id="a")
    two = tale.record("input_send_requested", frame_id="b")
    tale.end(tale.start("send", "b", 1))
    tale.end(tale.start("send", "a", 2))
    tale.record("input_sent", of=one, frame_id="a")
    tale.standing["send_cursor"] = 2
    tale.record("input_sent", of=two, frame_id="b")


def a_number_that_goes_back(tale: Tale) -> None:
    tale.send("a")
    tale.standing["send_cursor"] = 0
    tale.send("b")


def a_tail_turned_round(tale: Tale) -> None:
    tale.send("a")
    tale.send("b")
    tale.record("restart_requested")
    tale.connect("restart", "second")
    intent = tale.record("input_replay_requested", extent=extent(1, 2))
    tale.end(tale.start("send", "b", 2))
    tale.end(tale.start("send", "a", 1))
    tale.record("input_replayed", of=intent, extent=extent(1, 2))


def a_tail_that_was_never_sent(tale: Tale) -> None:
    tale.record("restart_requested")
    tale.connect("restart", "second")
    intent = tale.record("input_replay_requested", extent=extent(1, 1))
    tale.end(tale.start("send", "a", 1))
    tale.record("input_replayed", of=intent, extent=extent(1, 1))


def a_send_during_the_restart(tale: Tale) -> None:
    tale.record("restart_requested")
    tale.record("restart_started")
    tale.send("a")


def a_send_cut_too_late(tale: Tale) -> None:
    intent = tale.record("input_send_requested", frame_id="a")
    call = tale.start("send", "a", 1)
    tale.record("restart_requested")
    tale.end(call, "cancelled")
    tale.standing["send_cursor"] = 1
    tale.record("input_send_failed", of=intent, frame_id="a", error=IN_DOUBT)


def a_send_on_a_dead_connection(tale: Tale) -> None:
    intent = tale.record("output_receive_requested")
    tale.end(tale.start("receive"), "lost")
    tale.record("output_receive_failed", of=intent)
    tale.send("a")


def a_record_after_the_end(tale: Tale) -> None:
    tale.close()
    tale.record("output_fenced")


def a_call_after_the_end(tale: Tale) -> None:
    tale.close()
    tale.end(tale.start("close"))


def a_call_over_the_end(tale: Tale) -> None:
    intent = tale.record("output_receive_requested")
    tale.start("receive")
    tale.record("output_ended", of=intent)
    tale.close()


def a_call_after_it_was_handed_over(tale: Tale) -> None:
    tale.hand_over()
    tale.start("close")


def a_record_after_it_was_handed_over(tale: Tale) -> None:
    tale.hand_over()
    tale.record("output_fenced")


def a_call_of_the_old_owner_when_the_next_has_it(tale: Tale) -> None:
    intent = tale.record("output_receive_requested")
    call = tale.start("receive")
    tale.record("output_ended", of=intent)
    tale.hand_over()
    tale.record("session_recovered")
    tale.connect(connection_id="second")
    tale.end(call, "cancelled")


def an_intent_left_at_the_hand_over(tale: Tale) -> None:
    tale.record("tool_call_requested")
    tale.hand_over()


def more_than_the_gate_may_hold(tale: Tale) -> None:
    tale.record("restart_requested")
    for frame_id in "abc":
        tale.gate(frame_id)


def a_word_in_a_record(tale: Tale) -> None:
    tale.record("output_fenced", redacted_summary="the door is mauve")


WRONG: list[tuple[Callable[[Tale], None], int]] = [
    (a_call_before_its_intent, 1),
    (a_call_before_its_intent_is_durable, 1),
    (a_call_after_its_result, 1),
    (one_intent_for_two_calls, 1),
    (the_intent_of_another_frame, 1),
    (more_frames_than_reserved, 1),
    (two_frames_of_one_receive, 1),
    (no_result_at_the_end, 2),
    (two_results, 2),
    (a_result_of_nothing, 2),
    (a_result_of_the_wrong_kind, 2),
    (a_result_that_names_another, 2),
    (an_intent_that_names_another, 2),
    (two_receives_outstanding, 2),
    (a_success_that_was_none, 2),
    (a_connection_that_was_not_made, 2),
    (a_hole, 3),
    (a_number_twice, 3),
    (a_record_id_twice, 3),
    (a_record_of_another_run, 3),
    (a_frame_with_two_ends, 4),
    (a_gated_frame_forgotten, 4),
    (a_failed_frame_that_arrived, 4),
    (a_failed_frame_with_a_number, 4),
    (an_extent_that_did_not_go, 4),
    (a_queue_that_the_records_do_not_hold, 4),
    (a_later_frame_first, 5),
    (a_number_that_goes_back, 5),
    (a_tail_turned_round, 5),
    (a_tail_that_was_never_sent, 5),
    (a_send_during_the_restart, 6),
    (a_send_cut_too_late, 6),
    (a_send_on_a_dead_connection, 6),
    (a_record_after_the_end, 7),
    (a_call_after_the_end, 7),
    (a_call_over_the_end, 7),
    (a_call_after_it_was_handed_over, 7),
    (a_record_after_it_was_handed_over, 7),
    (a_call_of_the_old_owner_when_the_next_has_it, 7),
    (an_intent_left_at_the_hand_over, 2),
    (more_than_the_gate_may_hold, 11),
    (a_word_in_a_record, 9),
]
