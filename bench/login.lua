-- Sign-ins of one account: user name and password are the arguments.
function init(arguments)
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/json"
  wrk.body = '{"username":"' .. arguments[1] .. '","password":"' .. arguments[2] .. '"}'
end
