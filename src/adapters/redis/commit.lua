-- Applies one batch, or nothing. Everything is judged before the first write, and the first write is one that a full or
-- read-only server refuses, so that no error can leave half a batch.
--
-- KEYS: index, ends, attempt, the preconditions' keys, the writes' keys
-- ARGV: how long the attempt is remembered (ms), number of preconditions, number of writes,
--       per precondition: version (8 bytes), or '' for absent
--       per write: 'd', '' to delete; '' or time to live (ms), version and value to put
local index, ends, attempt = KEYS[1], KEYS[2], KEYS[3]
local preconditions, writes = tonumber(ARGV[2]), tonumber(ARGV[3])

-- The attempt came twice (applied), or was settled before it came (barred).
local outcome = redis.call('GET', attempt)
if outcome then
  return outcome == 'applied' and 1 or 0
end
for i = 1, preconditions do
  if redis.call('GETRANGE', KEYS[3 + i], 0, 7) ~= ARGV[3 + i] then
    return 0
  end
end
-- Fails here, and not half-way, if somebody else's data has the place of ours.
redis.call('ZCARD', index)
redis.call('ZCARD', ends)

redis.call('SET', attempt, 'applied', 'PX', ARGV[1])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- A few names whose values are past their time leave the index. `ends` is kept in step with the values, so that a name
-- that was given a new value is not due here.
local due = redis.call('ZRANGEBYSCORE', ends, '-inf', string.format('(%.0f', now), 'LIMIT', 0, 16)
for _, name in ipairs(due) do
  redis.call('ZREM', ends, name)
  redis.call('ZREM', index, name)
end

for i = 1, writes do
  local key = KEYS[3 + preconditions + i]
  local name = string.sub(key, #index + 2)
  local ttl, value = ARGV[2 + preconditions + 2 * i], ARGV[3 + preconditions + 2 * i]
  if ttl == 'd' then
    redis.call('DEL', key)
    redis.call('ZREM', index, name)
    redis.call('ZREM', ends, name)
  elseif ttl == '' then
    redis.call('SET', key, value)
    redis.call('ZADD', index, 0, name)
    redis.call('ZREM', ends, name)
  else
    local at = string.format('%.0f', now + tonumber(ttl))
    redis.call('SET', key, value, 'PXAT', at)
    redis.call('ZADD', index, 0, name)
    redis.call('ZADD', ends, at, name)
  end
end
return 1
