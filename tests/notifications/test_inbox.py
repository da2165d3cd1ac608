"""The inbox and the preferences over HTTP."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from notifications.parts import Service
from notifications.samples import one_of_each, order_placed, order_shipped
from tradewind.notifications.model.kinds import KINDS
from tradewind.platform.ids import new_id

pytestmark = pytest.mark.asyncio

Serving = Callable[[Service], Awaitable[Service]]


async def test_an_entry(service: Service, serving: Serving) -> None:
    """An entry has a kind, a title, a body, its order and its time, and is unread."""
    await serving(service)
    event = order_placed(user_id=new_id())
    await service.handle(event)
    answer = await service.customer(event.user_id).get("/v1/notifications")  # pyright: ignore[reportArgumentType]  given above
    assert answer.status_code == 200 and "no-store" in answer.headers["cache-control"]
    [entry] = answer.json()["items"]
    assert set(entry) == {"id", "kind", "title", "body", "orderId", "readAt", "createdAt"}
    assert (entry["kind"], entry["orderId"]) == ("order_confirmed", str(event.order_id))
    assert event.number in entry["title"] and "EUR 39.99" in entry["body"]
    assert entry["readAt"] is None and entry["createdAt"].endswith("Z")


async def test_pages(service: Service, serving: Serving) -> None:
    """Pages follow each other newest first, without gap or repetition, while more is written."""
    await serving(service)
    user_id = new_id()
    client = service.customer(user_id)
    for _ in range(7):
        await service.handle(order_placed(user_id=user_id))
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        answer = await client.get("/v1/notifications", params={"limit": "3", **cursor})
        page = answer.json()
        seen += [one["id"] for one in page["items"]]
        await service.handle(order_placed(user_id=user_id))
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert len(seen) == len(set(seen)) == 7 and seen == sorted(seen, reverse=True)


@pytest.mark.parametrize(
    "query",
    ["cursor=x", "cursor=LTE", "cursor=MA", "limit=0", "limit=101", "unread=perhaps", "cursor=%00"],
)
async def test_a_wrong_query(service: Service, serving: Serving, query: str) -> None:
    """A query that cannot be right is named."""
    await serving(service)
    answer = await service.customer(new_id()).get(f"/v1/notifications?{query}")
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["field"] == query.partition("=")[0]


async def test_reading(service: Service, serving: Serving) -> None:
    """An entry is read once, whoever asks again; unread ones can be listed alone."""
    await serving(service)
    user_id = new_id()
    client = service.customer(user_id)
    await service.handle(order_placed(user_id=user_id), order_shipped(user_id=user_id))
    newest = (await client.get("/v1/notifications")).json()["items"][0]
    first = await client.post(f"/v1/notifications/{newest['id']}/read")
    again = await client.post(f"/v1/notifications/{newest['id']}/read")
    assert first.status_code == again.status_code == 200
    assert first.json()["readAt"] is not None and first.json() == again.json()
    unread = (await client.get("/v1/notifications?unread=true")).json()["items"]
    assert [one["kind"] for one in unread] == ["order_confirmed"]


async def test_what_is_not_mine(service: Service, serving: Serving) -> None:
    """Somebody else's entry is not there, and stays unread."""
    await serving(service)
    event = order_placed(user_id=new_id())
    await service.handle(event)
    [entry] = await service.rows("SELECT id, read_at FROM entries")
    stranger = service.customer(new_id())
    answer = await stranger.post(f"/v1/notifications/{entry['id']}/read")
    assert (answer.status_code, answer.json()["code"]) == (404, "notification_not_found")
    assert (await stranger.get("/v1/notifications")).json() == {"items": [], "next": None}
    [entry] = await service.rows("SELECT read_at FROM entries")
    assert entry["read_at"] is None


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/notifications"),
        ("GET", "/v1/notifications/stream"),
        ("POST", f"/v1/notifications/{new_id()}/read"),
        ("GET", "/v1/notification-preferences"),
        ("PUT", "/v1/notification-preferences"),
        ("GET", "/v1/messages"),
        ("GET", f"/v1/messages/{new_id()}"),
        ("POST", f"/v1/messages/{new_id()}/resend"),
    ],
)
async def test_without_a_session(
    service: Service, serving: Serving, method: str, path: str
) -> None:
    """Every route needs a session."""
    await serving(service)
    answer = await service.client().request(method, path, json={"preferences": {}})
    assert answer.status_code == 401


@pytest.mark.parametrize(
    "path", ["/v1/push-key", "/v1/push-subscriptions", "/v1/webhook-endpoints"]
)
async def test_what_comes_later(service: Service, serving: Serving, path: str) -> None:
    """Push and outbound webhooks are not there yet."""
    await serving(service)
    assert (await service.staff().get(path)).status_code == 404


async def test_preferences(service: Service, serving: Serving) -> None:
    """Everything is on until its owner switches it off; what is left out is on again."""
    await serving(service)
    client, other = service.customer(new_id()), service.customer(new_id())
    before = (await client.get("/v1/notification-preferences")).json()
    on = {"email": True, "push": True, "inbox": True}
    assert before["preferences"] == dict.fromkeys(KINDS, on)
    assert before["required"]["password_reset"] == ["email"]
    wish = {"preferences": {"order_shipped": {"email": False}, "order_delivered": {"inbox": False}}}
    answer = await client.put("/v1/notification-preferences", json=wish)
    assert answer.status_code == 200
    after = (await client.get("/v1/notification-preferences")).json()
    assert after == answer.json()
    assert after["preferences"]["order_shipped"] == {**on, "email": False}
    assert after["preferences"]["order_delivered"] == {**on, "inbox": False}
    assert after["preferences"]["order_refunded"] == on
    assert (await other.get("/v1/notification-preferences")).json() == before
    assert (await client.put("/v1/notification-preferences", json=before)).json() == before


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"preferences": {"password_reset": {"email": False}}}, "preferences.password_reset.email"),
        ({"preferences": {"welcome": {"email": False}}}, "preferences.welcome.email"),
        ({"preferences": {"no_such_kind": {"email": False}}}, "preferences.no_such_kind"),
        ({"preferences": {"order_shipped": {"email": "no"}}}, "preferences"),
        ({"preferences": []}, "preferences"),
        ({}, "preferences"),
    ],
)
async def test_wishes_that_cannot_be(
    service: Service, serving: Serving, body: Any, field: str
) -> None:
    """What cannot be switched off, or is none of ours, is named, and nothing is changed."""
    await serving(service)
    client = service.customer(new_id())
    answer = await client.put("/v1/notification-preferences", json=body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["field"].startswith(field)
    assert await service.rows("SELECT user_id FROM people") == []


async def test_words_of_the_whole_inbox(service: Service, serving: Serving) -> None:
    """Whatever happened to a customer can be shown."""
    await serving(service)
    user_id = new_id()
    await service.handle(*one_of_each(user_id, "ann@example.com"))
    items = (await service.customer(user_id).get("/v1/notifications?limit=100")).json()["items"]
    assert len(items) == 10 and all(one["title"] and one["body"] for one in items)
