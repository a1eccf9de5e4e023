"""Judges the calls in an answer that is whole."""

from __future__ import annotations

from offswitch.clock import new_nonce
from offswitch.gateway.api.answers import message_item
from offswitch.gateway.api.calls.asking import may_go, notice, notices
from offswitch.gateway.api.verdicts import Judge
from offswitch.gateway.exchange import Shape

__all__ = ["calls_of_chat", "is_call", "item_may_go", "judged", "may_go_in_chat", "name_of_item"]

Said = dict[str, object]

_HOSTED = frozenset(
    (
        "web_search_call",
        "file_search_call",
        "code_interpreter_call",
        "image_generation_call",
        "mcp_call",
    )
)
"""Calls that the provider makes itself: when they are told they have happened."""


def judged(shape: Shape, answer: Said, judge: Judge) -> Said:
    """Give the answer without the calls that are denied; the very same if none is."""
    if shape is Shape.CHAT:
        return _chat(answer, judge)
    if shape is Shape.RESPONSES:
        return _response(answer, judge)
    return _message(answer, judge) if shape is Shape.MESSAGES else answer


def calls_of_chat(message: Said) -> list[Said]:
    """List the calls in a chat's message."""
    calls = message.get("tool_calls")
    return [call for call in calls if type(call) is dict] if type(calls) is list else []


def _inner(call: Said) -> tuple[object, object]:
    """Give the name and arguments of a call in a chat; a custom tool takes plain text."""
    function, custom = call.get("function"), call.get("custom")
    if type(function) is dict:
        return function.get("name"), function.get("arguments")
    if type(custom) is dict:
        return custom.get("name"), {"input": custom.get("input")}
    return None, None


def may_go_in_chat(judge: Judge, call: Said) -> tuple[bool, object]:
    """Tell whether a chat's call may be handed on, and its name."""
    name, arguments = _inner(call)
    return may_go(judge, name, arguments, call.get("id", "")), name


def _chat(answer: Said, judge: Judge) -> Said:
    choices = answer.get("choices")
    if type(choices) is not list:
        return answer
    new = [_choice(choice, judge) if type(choice) is dict else choice for choice in choices]
    return answer if new == choices else {**answer, "choices": new}


def _choice(choice: Said, judge: Judge) -> Said:
    message = choice.get("message")
    if type(message) is not dict:
        return choice
    kept, denied = [], []
    for call in calls_of_chat(message):
        goes, name = may_go_in_chat(judge, call)
        if goes:
            kept.append(call)
        else:
            denied.append(name)
    old = message.get("function_call")
    if type(old) is dict and not may_go(judge, old.get("name"), old.get("arguments")):
        denied.append(old.get("name"))
    if not denied:
        return choice
    said = {k: v for k, v in message.items() if k not in ("tool_calls", "function_call")}
    if kept:
        said["tool_calls"] = kept
    text = message.get("content")
    said["content"] = (text if type(text) is str else "") + notices(denied)
    new = {**choice, "message": said}
    if not kept and choice.get("finish_reason") in ("tool_calls", "function_call"):
        new["finish_reason"] = "stop"
    return new


def name_of_item(item: Said) -> object:
    """Give the name of a call in a response; one without a name is known by its type."""
    return item.get("name") or str(item.get("type")).removesuffix("_call")


def is_call(item: object) -> bool:
    """Tell whether an item of a response is a call that the client is to make."""
    kind = item.get("type") if type(item) is dict else None
    return type(kind) is str and kind.endswith("_call") and kind not in _HOSTED


def item_may_go(item: object, judge: Judge) -> bool:
    """Tell whether an item of a response may be handed on."""
    if type(item) is not dict or not is_call(item):
        return True
    if item.get("type") == "function_call":
        arguments = item.get("arguments")
    else:
        arguments = {k: v for k, v in item.items() if k in ("input", "action", "operation")}
    return may_go(judge, name_of_item(item), arguments, item.get("call_id", ""))


def _response(answer: Said, judge: Judge) -> Said:
    output = answer.get("output")
    if type(output) is not list:
        return answer
    new = [
        item if item_may_go(item, judge) else message_item(notice(name_of_item(item)), new_nonce())
        for item in output
    ]
    return answer if new == output else {**answer, "output": new}


def _message(answer: Said, judge: Judge) -> Said:
    content = answer.get("content")
    if type(content) is not list:
        return answer
    new: list[object] = []
    left = 0
    for block in content:
        calls = type(block) is dict and block.get("type") == "tool_use"
        if not calls:
            new.append(block)
        elif may_go(judge, block.get("name"), block.get("input"), block.get("id", "")):
            new.append(block)
            left += 1
        else:
            new.append({"type": "text", "text": notice(block.get("name"))})
    if new == content:
        return answer
    said = {**answer, "content": new}
    if not left and answer.get("stop_reason") == "tool_use":
        said["stop_reason"] = "end_turn"
    return said
