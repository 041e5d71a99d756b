-- One request again and again, as the environment describes it; at the end a line of JSON with what
-- was seen.
wrk.method = os.getenv("LOAD_METHOD") or "POST"
wrk.body = os.getenv("LOAD_BODY")
for line in (os.getenv("LOAD_HEADERS") or ""):gmatch("[^\n]+") do
    local name, value = line:match("^([^:]+): (.*)$")
    wrk.headers[name] = value
end

function done(summary, latency)
    local errors = summary.errors
    local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
    io.write(string.format(
        'LOAD {"calls":%d,"seconds":%.6f,"failed":%d,"p50":%.1f,"p99":%.1f}\n',
        summary.requests,
        summary.duration / 1e6,
        failed,
        latency:percentile(50),
        latency:percentile(99)
    ))
end
