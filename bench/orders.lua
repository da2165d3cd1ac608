-- Reads of orders by their owner: the token, then the paths of which one is taken after the other.
local paths, number = {}, 0

function init(arguments)
  wrk.headers["Authorization"] = "Bearer " .. arguments[1]
  for place = 2, #arguments do
    paths[place - 1] = arguments[place]
  end
end

function request()
  number = number + 1
  return wrk.format("GET", paths[number % #paths + 1])
end
