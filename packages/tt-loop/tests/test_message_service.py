"""Messages between callbacks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tt_loop.api import LoopTypeError, LoopValueError
from tt_loop.message_service import MessageHandling, MessageService

FOREVER, EPOCH, READ, OVERWRITE = MessageHandling


@pytest.mark.parametrize(
    ("settings", "after_read", "after_epoch"),
    [
        (FOREVER, True, True),
        (EPOCH, True, False),
        (READ, False, True),
        (OVERWRITE, True, True),
        ([READ, EPOCH], False, False),
        ([READ, OVERWRITE], False, True),
        ((EPOCH, OVERWRITE), True, False),
        ([FOREVER, OVERWRITE], True, True),
    ],
)
def test_a_message_stays_as_long_as_its_settings_say(settings, after_read, after_epoch) -> None:
    messages = MessageService()
    messages.write_message("key", 1, settings)
    assert messages.read_messages("key") == [1]
    assert messages.read_messages("key") == ([1] if after_read else None)

    messages = MessageService()
    messages.write_message("key", 1, settings)
    messages.end_of_epoch_trigger()
    assert messages.read_messages("key") == ([1] if after_epoch else None)


def test_messages_stay_until_the_end_of_the_epoch_by_default() -> None:
    messages = MessageService()
    messages.write_message("key", ["a.png"])
    messages.write_message("key", ["b.png"])
    assert messages.read_messages("key") == [["a.png"], ["b.png"]]
    assert messages.read_messages("other") is None
    messages.end_of_epoch_trigger()
    assert messages.read_messages("key") is None


def test_overwriting_removes_what_was_there_under_the_key_alone() -> None:
    messages = MessageService()
    messages.write_message("key", "old", FOREVER)
    messages.write_message("other", "kept", FOREVER)
    messages.write_message("key", "new", OVERWRITE)
    messages.write_message("key", "added")
    assert messages.read_messages("key") == ["new", "added"]
    assert messages.read_messages("other") == ["kept"]


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("write"), st.sampled_from("ab"), st.sampled_from(MessageHandling)),
            st.tuples(st.just("read"), st.sampled_from("ab")),
            st.tuples(st.just("epoch")),
        )
    )
)
def test_any_history_of_calls_gives_what_one_list_of_all_messages_would(calls) -> None:
    service, model = MessageService(), []
    for number, (call, *args) in enumerate(calls):
        if call == "write":
            key, setting = args
            service.write_message(key, number, setting)
            if setting is OVERWRITE:
                model = [each for each in model if each[0] != key]
            model.append((key, number, setting))
        elif call == "read":
            expected = [value for key, value, _ in model if key == args[0]]
            assert service.read_messages(args[0]) == (expected or None)
            model = [each for each in model if not (each[0] == args[0] and each[2] is READ)]
        else:
            service.end_of_epoch_trigger()
            model = [each for each in model if each[2] is not EPOCH]


@pytest.mark.parametrize(
    "settings", [[], [FOREVER, READ], [FOREVER, EPOCH], [EPOCH, READ, FOREVER]]
)
def test_no_settings_and_contradictory_ones_are_refused(settings) -> None:
    messages = MessageService()
    with pytest.raises(LoopValueError, match="KEEP_FOREVER goes with no UNTIL"):
        messages.write_message("key", 1, settings)
    assert messages.read_messages("key") is None


@pytest.mark.parametrize("settings", ["UNTIL_READ", ["UNTIL_READ"], [None]])
def test_what_is_no_setting_is_refused(settings) -> None:
    with pytest.raises(LoopTypeError, match="must be a MessageHandling"):
        MessageService().write_message("key", 1, settings)
