"""What Redis does for pages, each in one step; one rule: numbers are compared within one era.

KEYS are the page, the note that somebody fetches it, and the drops: a hash of the era's name
(`era`), the number of drops in it (`drops`), and for each tag (`t:…`) the number of its last one.
"""

from typing import Final

# ARGV: a name for a new era, how long a fetch is noted (ms), how early a page is fetched anew (ms).
LOOK: Final = """
local era = redis.call('HGET', KEYS[3], 'era')
if not era then
  era = ARGV[1]
  redis.call('DEL', KEYS[3])
  redis.call('HSET', KEYS[3], 'era', era, 'drops', 0)
end
local number = tonumber(redis.call('HGET', KEYS[3], 'drops')) or 0
local page = redis.call('HMGET', KEYS[1], 'era', 'number', 'tags', 'value')
local good = page[1] == era and page[2] and page[3] and page[4]
if good then
  for tag in string.gmatch(page[3], '%S+') do
    local dropped = tonumber(redis.call('HGET', KEYS[3], 't:' .. tag)) or 0
    if dropped > tonumber(page[2]) then good = false end
  end
end
local won = 0
if not good or redis.call('PTTL', KEYS[1]) <= tonumber(ARGV[3]) then
  if redis.call('SET', KEYS[2], '', 'NX', 'PX', ARGV[2]) then won = 1 end
end
if not good then return {era, number, won, 0, '', ''} end
return {era, number, won, tonumber(page[2]), page[3], page[4]}
"""

# ARGV: the era and number of the ticket, the tags, the value (empty: nothing to keep), and how long
# it lives (ms).
KEEP: Final = """
redis.call('DEL', KEYS[2])
if ARGV[4] == '' or redis.call('HGET', KEYS[3], 'era') ~= ARGV[1] then return 0 end
for tag in string.gmatch(ARGV[3], '%S+') do
  local dropped = tonumber(redis.call('HGET', KEYS[3], 't:' .. tag)) or 0
  if dropped > tonumber(ARGV[2]) then return 0 end
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'era', ARGV[1], 'number', ARGV[2], 'tags', ARGV[3], 'value', ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return 1
"""

# KEYS: the drops; ARGV: a name for a new era, how many tags may be known, the tags.
DROP: Final = """
local era = redis.call('HGET', KEYS[1], 'era')
if not era or redis.call('HLEN', KEYS[1]) > tonumber(ARGV[2]) then
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'era', ARGV[1], 'drops', 0)
  return 1
end
local number = redis.call('HINCRBY', KEYS[1], 'drops', 1)
for i = 3, #ARGV do redis.call('HSET', KEYS[1], 't:' .. ARGV[i], number) end
return 1
"""

# KEYS: the drops; ARGV: the new era's name.
START_ERA: Final = """
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'era', ARGV[1], 'drops', 0)
return 1
"""
