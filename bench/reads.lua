-- Reads: the session's token or "-", then the paths, of which one is taken after the other.
local ready, number = {}, 0

function init(arguments)
  local headers = {}
  if arguments[1] ~= "-" then
    headers["Authorization"] = "Bearer " .. arguments[1]
  end
  for place = 2, #arguments do
    ready[place - 1] = wrk.format("GET", arguments[place], headers)
  end
end

function request()
  number = number + 1
  return ready[number % #ready + 1]
end
