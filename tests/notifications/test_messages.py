"""Messages over HTTP, for staff."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from notifications.parts import MailServer, Service
from notifications.samples import (
    one_of_each,
    order_placed,
    order_refunded,
    order_shipped,
    password_reset_requested,
    user_erased,
)
from tradewind.platform.ids import new_id

pytestmark = pytest.mark.asyncio

Make = Callable[..., Awaitable[Service]]
Serving = Callable[[Service], Awaitable[Service]]


async def found(service: Service, **filters: str) -> list[dict[str, Any]]:
    """What staff find with these filters."""
    answer = await service.staff().get("/v1/messages", params=filters)
    assert answer.status_code == 200, answer.text
    return answer.json()["items"]


async def test_a_mail_in_the_store(service: Service, serving: Serving) -> None:
    """Without a mail server staff read the whole mail, its link included."""
    await serving(service)
    event = password_reset_requested()
    await service.handle(event)
    [item] = await found(service)
    assert (item["recipient"], item["kind"], item["channel"]) == (
        event.email,
        "password_reset",
        "email",
    )
    assert (item["status"], item["attempts"], item["orderId"]) == ("sent", 1, None)
    assert item["subject"] == "Reset your password" and "html" not in item
    assert f"https://shop.example/reset-password?token={event.reset_token}" in item["body"]
    one = (await service.staff().get(f"/v1/messages/{item['id']}")).json()
    assert f'href="https://shop.example/reset-password?token={event.reset_token}"' in one["html"]
    assert {key: value for key, value in one.items() if key != "html"} == item


async def test_secrets_are_masked(
    make: Make, serving: Serving, mail_server: Callable[..., MailServer]
) -> None:
    """With a mail server nobody but the recipient reads the secret part of a link."""
    service = await serving(await make(smtp_url=mail_server().url))
    reset, guest = password_reset_requested(), order_placed()
    events = [reset, guest, *one_of_each(new_id(), "ann@example.com")]
    await service.handle(*events)
    staff = service.staff()
    listed = await staff.get("/v1/messages?limit=100")
    texts = [listed.text]
    for item in listed.json()["items"]:
        texts.append((await staff.get(f"/v1/messages/{item['id']}")).text)
        texts.append((await staff.post(f"/v1/messages/{item['id']}/resend")).text)
    everything = "".join(texts)
    assert reset.reset_token not in everything and guest.token not in everything
    assert "verify-" not in everything.replace("verify-email", "")
    assert "token=********" in everything


async def test_filters(service: Service, serving: Serving) -> None:
    """Messages are found by kind, recipient, status and order, alone and together."""
    await serving(service)
    placed, other = order_placed(email="Ann@Example.com"), order_placed()
    same: dict[str, Any] = {"order_id": placed.order_id, "email": placed.email}
    await service.handle(placed, other, order_shipped(**same), order_refunded(**same))
    order_id = str(placed.order_id)
    assert len(await found(service)) == 4
    assert len(await found(service, orderId=order_id)) == 3
    assert len(await found(service, recipient="ann@example.COM")) == 3
    assert len(await found(service, recipient="ann@example.co")) == 0
    assert [one["kind"] for one in await found(service, kind="order_refunded")] == [
        "order_refunded"
    ]
    assert len(await found(service, kind="order_confirmed")) == 2
    assert len(await found(service, kind="order_confirmed", orderId=order_id)) == 1
    assert len(await found(service, status="sent", recipient="ann@example.com")) == 3
    assert await found(service, status="queued") == await found(service, status="failed") == []
    await service.do("UPDATE messages SET status = 'failed' WHERE kind = 'order_shipped'")
    assert [one["kind"] for one in await found(service, status="failed")] == ["order_shipped"]
    assert await found(service, status="failed", kind="order_refunded") == []


async def test_pages(service: Service, serving: Serving) -> None:
    """Pages follow each other newest first without gap or repetition, with every filter."""
    await serving(service)
    for _ in range(5):
        await service.handle(order_placed(email="ann@example.com"), order_refunded())
    staff = service.staff()
    for filters in ({}, {"kind": "order_refunded"}, {"recipient": "ann@example.com"}):
        seen: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            query = {"limit": "2", **filters, **cursor}
            page = (await staff.get("/v1/messages", params=query)).json()
            seen += [one["id"] for one in page["items"]]
            if page["next"] is None:
                break
            cursor = {"cursor": page["next"]}
        assert len(seen) == len(set(seen)) == (5 if filters else 10)
        assert seen == sorted(seen, reverse=True)


@pytest.mark.parametrize(
    "query",
    [
        "kind=spam",
        "status=lost",
        "orderId=1",
        "recipient=a%00b",
        f"recipient={'a' * 300}",
        "limit=101",
        "cursor=x",
    ],
)
async def test_a_wrong_query(service: Service, serving: Serving, query: str) -> None:
    """A query that cannot be right is named."""
    await serving(service)
    answer = await service.staff().get(f"/v1/messages?{query}")
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["field"] == query.partition("=")[0]


async def test_not_for_customers(service: Service, serving: Serving) -> None:
    """Customers read no messages, not even their own."""
    await serving(service)
    event = order_placed(user_id=new_id())
    await service.handle(event)
    [mail] = await service.mails()
    customer = service.customer(event.user_id)  # pyright: ignore[reportArgumentType]  given above
    assert (await customer.get("/v1/messages")).status_code == 403
    assert (await customer.get(f"/v1/messages/{mail['id']}")).status_code == 403
    assert (await customer.post(f"/v1/messages/{mail['id']}/resend")).status_code == 403


async def test_resend(make: Make, serving: Serving, mail_server: Callable[..., MailServer]) -> None:
    """A mail is sent again once for each key, however often the request comes."""
    server = mail_server()
    service = await serving(await make(smtp_url=server.url))
    await service.handle(order_placed())
    await service.deliver()
    [item] = await found(service)
    staff = service.staff()
    answers: list[Any] = []
    for key in ("one", "one", "two"):
        answers.append(
            await staff.post(f"/v1/messages/{item['id']}/resend", headers={"Idempotency-Key": key})
        )
        await service.deliver()
    assert [answer.status_code for answer in answers] == [202, 202, 202]
    assert answers[0].json()["status"] == "queued" and answers[1].json() == answers[0].json()
    assert answers[1].headers["idempotent-replayed"] == "true"
    assert len(server.mailbox.taken) == 3
    [item] = await found(service)
    assert (item["status"], item["attempts"]) == ("sent", 3)


async def test_what_is_not_there(service: Service, serving: Serving) -> None:
    """A message that is not there is 404, in the path's spelling too."""
    await serving(service)
    staff = service.staff()
    assert (await staff.get(f"/v1/messages/{new_id()}")).json()["code"] == "message_not_found"
    assert (await staff.post(f"/v1/messages/{new_id()}/resend")).status_code == 404
    assert (await staff.get("/v1/messages/not-an-id")).status_code == 404


async def test_of_the_erased(service: Service, serving: Serving) -> None:
    """A message to somebody who was erased is counted, says nothing and cannot be sent again."""
    await serving(service)
    event = password_reset_requested()
    await service.handle(event)
    await service.handle(user_erased(user_id=event.user_id, email=event.email))
    [item] = await found(service)
    assert (item["recipient"], item["body"], item["kind"]) == (None, "", "password_reset")
    answer = await service.staff().post(f"/v1/messages/{item['id']}/resend")
    assert (answer.status_code, answer.json()["code"]) == (409, "message_erased")
