"""The embedded PostgreSQL: the one room that knows where the programs come from.

`server.EmbeddedPostgres` owns a server, `endpoint.find_endpoint` reaches one that runs,
`errors.EmbeddedError` says in one line what is wrong. The rule: nothing outside the home
directory is changed, and no server outlives its owner.
"""
