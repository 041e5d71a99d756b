-- Callers that live with their things: each makes one, reads, changes, lists and archives it, and
-- deletes it. A thread is a connection and a caller, since what is asked next depends on the last
-- answer.
--
-- LOAD_TOKENS is a file with one token a line. At the end a line of JSON with what was seen.
local tokens, threads = {}, {}
for line in io.lines(os.getenv("LOAD_TOKENS")) do
    table.insert(tokens, line)
end

function setup(thread)
    table.insert(threads, thread)
    thread:set("token", tokens[(#threads - 1) % #tokens + 1])
end

local text = string.rep("Some words that somebody wrote. ", 6)
local uid, version, step, steps
failed, first_failure = 0, ""

local function call(tool, arguments)
    return '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"'
        .. tool .. '","arguments":' .. arguments .. "}}"
end

function init()
    wrk.method, wrk.path = "POST", "/mcp"
    wrk.headers["Authorization"] = "Bearer " .. token
    wrk.headers["Content-Type"] = "application/json"
    wrk.headers["Accept"] = "application/json, text/event-stream"
    wrk.headers["MCP-Protocol-Version"] = "2025-11-25"
    local one = function(more) return '{"uid":"' .. uid .. '"' .. (more or "") .. "}" end
    local get = function() return call("get_note", one()) end
    local list = function() return call("list_notes", '{"limit":20}') end
    steps = {
        function()
            local fields = '{"title":"A note","content":"' .. text .. '","tags":["a","b"]}'
            return call("create_note", fields)
        end,
        get, list,
        function()
            local changes = ',"updates":{"title":"Another"},"if_match":' .. version
            return call("patch_note", one(changes))
        end,
        get,
        function()
            return call("update_note", one(',"title":"A third","content":"' .. text .. '"'))
        end,
        get, list,
        function() return call("process_note", one(',"action":"pin"')) end,
        function() return call("list_tasks", "{}") end,
        get,
        function() return call("archive_note", one()) end,
        get, list,
        function() return call("delete_note", one()) end,
    }
    step = 1
end

-- wrk asks for a request before the first answer is there, and for none that it does not send.
function request()
    return wrk.format(nil, nil, nil, steps[step]())
end

function response(status, _, body)
    if status ~= 200 or not body:find('"isError":false', 1, true) then
        failed = failed + 1
        if first_failure == "" then
            first_failure = status .. " " .. body:sub(1, 300)
        end
        step = 1
        return
    end
    uid = body:match('"structuredContent":{"uid":"([^"]+)"') or uid
    version = body:match('"structuredContent":{"uid":"[^"]+","version":(%d+)') or version
    step = step % #steps + 1
end

function done(summary, latency)
    local e, wrong, said = summary.errors, 0, ""
    for _, thread in ipairs(threads) do
        wrong = wrong + thread:get("failed")
        said = said == "" and thread:get("first_failure") or said
    end
    io.write(string.format(
        'LOAD {"calls":%d,"seconds":%.6f,"failed":%d,"p50":%.1f,"p99":%.1f}\n',
        summary.requests,
        summary.duration / 1e6,
        e.connect + e.read + e.write + e.timeout + wrong,
        latency:percentile(50),
        latency:percentile(99)
    ))
    if said ~= "" then
        io.write("FIRST " .. said .. "\n")
    end
end
