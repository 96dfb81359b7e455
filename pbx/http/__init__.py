"""
HTTP: the operations of the exchange as JSON, for programs that have a token; metrics, and a description of it all.

`pbx.http.routes` says what can be asked, `pbx.http.api` what is answered, `pbx.http.door` who is let in and for how long.
"""
