import asyncio, time
import pytest
from conftest import settings_of
@pytest.mark.asyncio
async def test_it(store):
    c = await store.customer()
    r = await c.get("/v1/me"); print(r.text, r.headers)
    for m,p,b in [("get","/v1/sessions",None),("get","/v1/me/export",None),("post","/v1/me/addresses",{"name":"Ann","line1":"1","city":"B","postalCode":"1","country":"DE"}),
      ("patch","/v1/me",{"name":"X"}),("post","/v1/logout",None),("get","/v1/me",None)]:
        r = await c.request(m,p,json=b) if b else await c.request(m,p); print(p, r.status_code, r.text[:500], r.headers.get("set-cookie"))
    a = store.client()
    for p,b in [("/register",{"username":"old-1","password":"s3cret-pw-of-old"}),("/register",{"username":"old-1","password":"s3cret-pw-of-old"}),("/login",{"username":"old-1","password":"s3cret-pw-of-old"}),("/login",{"username":"old-1","password":"x"}),("/login",{"username":"old-1"}),("/register",{"username":"old-2","password":"password"})]:
        r = await a.post(p,json=b); print(p, r.status_code, r.text)
    s = await store.staff()
    r = await s.get("/v1/users?q=old"); print(r.text)
    t=time.time(); rs = await asyncio.gather(*[a.post("/v1/login",json={"username":"old-1","password":"s3cret-pw-of-old"}) for _ in range(200)]); print("200 logins", time.time()-t, {r.status_code for r in rs})
    r = await a.get("/openapi.json"); print(r.status_code, len(r.text))
