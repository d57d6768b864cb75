-- Thread n talks to the n-th of the addresses given after "--", and the figures are printed as JSON.
-- Direct forwarding has one address per server; through a balancer all threads use the VIP.
local threads = 0
local addresses = {}

function setup(thread)
  threads = threads + 1
  thread:set("number", threads)
  for address in (os.getenv("BENCH_ADDRESSES")):gmatch("%S+") do addresses[#addresses + 1] = address end
  local found = wrk.lookup(addresses[(threads - 1) % #addresses + 1], wrk.port or "80")
  thread.addr = found[1]
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests":%d,"micros":%d,"bytes":%d,"p50":%d,"p99":%d,"errors":%d}\n',
    summary.requests, summary.duration, summary.bytes, latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
