-- Keeps the marker of a server, and makes it where none is known and none is there. It writes what it found, so that a
-- WAIT that follows has a write to wait for, and so that each replica has the marker soon.
-- KEYS: marker. ARGV: the marker as it is known, or '' while it is not
local found = redis.call('GET', KEYS[1])
if not found and ARGV[1] == '' then
  local time = redis.call('TIME')
  found = time[1] .. '.' .. time[2]
end
if found then
  redis.call('SET', KEYS[1], found)
end
return found or ''
