-- Reads and deletes one value. KEYS: index, ends, the value's key
local value = redis.call('GET', KEYS[3])
if value then
  local name = string.sub(KEYS[3], #KEYS[1] + 2)
  redis.call('ZREM', KEYS[1], name)
  redis.call('ZREM', KEYS[2], name)
  redis.call('DEL', KEYS[3])
end
return value
