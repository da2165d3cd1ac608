-- Purchases in one request, spread over BENCH-1 … BENCH-N, or all of one SKU (argument `hot`).
local sent, seed, skus, hot = 0, 0, 1000, false

function init(arguments)
  skus = tonumber(arguments[1]) or 1000
  hot = arguments[2] == "hot"
  seed = arguments[3] or "0"
  math.randomseed(tonumber(seed))
end

function request()
  sent = sent + 1
  local sku = hot and 1 or math.random(1, skus)
  local body = '{"lines":[{"sku":"BENCH-' .. sku .. '","quantity":1}],"email":"ann' .. sent ..
    '@example.com","shippingAddress":{"name":"Ann Lee","line1":"1 Main St","city":"Berlin",' ..
    '"postalCode":"10115","country":"DE"},"payment":{"token":"tok_approved"}}'
  return wrk.format("POST", "/v1/checkout", {
    ["Content-Type"] = "application/json",
    ["Idempotency-Key"] = "bench-" .. seed .. "-" .. sent,
  }, body)
end
