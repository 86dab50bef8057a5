-- Names whose values are past their time leave the index, as in commit.lua. KEYS: index, ends
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local due = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', string.format('(%.0f', now), 'LIMIT', 0, 256)
for _, name in ipairs(due) do
  redis.call('ZREM', KEYS[2], name)
  redis.call('ZREM', KEYS[1], name)
end
return #due
