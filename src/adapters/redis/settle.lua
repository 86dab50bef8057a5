-- Says whether an attempt was applied (1) and bars it if it was not (0). It writes in both cases, so that a WAIT that
-- follows covers the attempt too. KEYS: attempt. ARGV: how long the attempt is remembered (ms)
local outcome = redis.call('GET', KEYS[1]) or 'barred'
redis.call('SET', KEYS[1], outcome, 'PX', ARGV[1])
return outcome == 'applied' and 1 or 0
