-- POST /get-access-token for connections at random, with an API key.
-- wrk … -s get-access-token.lua URL -- KEY PROVIDER CONNECTIONS

local threads = 0
local requests = {}

function setup(thread)
  threads = threads + 1
  thread:set("number", threads)
end

function init(args)
  local key, provider, connections = args[1], args[2], tonumber(args[3])
  local headers = {
    ["Host"] = wrk.headers["Host"],
    ["Authorization"] = "Bearer " .. key,
    ["Content-Type"] = "application/json",
  }
  for n = 1, connections do
    local body = string.format('{"provider":"%s","end_user_id":"user-%d"}', provider, n)
    requests[n] = wrk.format("POST", "/get-access-token", headers, body)
  end
  math.randomseed(os.time() * 100 + number)
end

function request()
  return requests[math.random(#requests)]
end

-- requests per second, milliseconds at the median and the 99th percentile, failures
function done(summary, latency)
  local errors = summary.errors
  local failed = errors.status + errors.connect + errors.read + errors.write + errors.timeout
  local rate = summary.requests / (summary.duration / 1e6)
  print(string.format("RESULT %.0f %.2f %.2f %d", rate, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, failed))
end
