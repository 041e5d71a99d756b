-- What a caller asks, again and again; LOAD_ROUTE says what. At the end a line of JSON with what
-- was seen.
--
-- LOAD_CALLERS is a file with a line for each caller: number, token, session, epoch. They take
-- turns. An item's uid is made of its caller's number and its own, as seed.py makes them. LOAD_BODY
-- is what a search asks, LOAD_PATH what a tail reads.
local route = os.getenv("LOAD_ROUTE")
local items = tonumber(os.getenv("LOAD_ITEMS"))
local cursor = os.getenv("LOAD_CURSOR")
local note = '{"title":"A note","content":"'
    .. string.rep("Some words that somebody wrote. ", 6)
    .. '","tags":["a","b"]}'
local callers = {}

local function head(caller, session)
    local lines = "Host: bench\r\nAuthorization: Bearer "
        .. caller.token .. "\r\n" .. os.getenv("LOAD_SIGNED") .. "\r\n"
    if session then
        lines = lines .. "X-Sync-Session: " .. session .. "\r\n"
            .. "X-Sync-Epoch: " .. caller.epoch .. "\r\n"
    end
    return lines
end

local function ask(method, path, lines, body)
    if not body then
        return method .. " " .. path .. " HTTP/1.1\r\n" .. lines .. "\r\n"
    end
    return method .. " " .. path .. " HTTP/1.1\r\n" .. lines
        .. "Content-Type: application/json\r\nContent-Length: " .. #body .. "\r\n\r\n" .. body
end

local function some_note(caller)
    return string.format("/v1/notes/%08x-0000-7000-8000-%012x", caller.number, math.random(items))
end

local turn = 0
local function next_caller()
    turn = turn % #callers + 1
    return callers[turn]
end

local single = {
    health = function() return ask("GET", "/healthz", "Host: bench\r\n") end,
    open = function(c) return ask("POST", "/v1/sync/sessions", c.open) end,
    get = function(c) return ask("GET", some_note(c), c.head) end,
    list = function(c) return ask("GET", "/v1/notes?limit=50", c.head) end,
    page = function(c) return ask("GET", "/v1/notes?limit=50&cursor=" .. cursor, c.head) end,
    create = function(c) return ask("POST", "/v1/notes", c.head, note) end,
    search = function(c) return ask("POST", "/v1/search", c.head, os.getenv("LOAD_BODY")) end,
    tail = function(c) return ask("GET", os.getenv("LOAD_PATH"), c.head) end,
    merge = function(c) return ask("PATCH", some_note(c), c.head, '{"title":"Another title"}') end,
}

-- What consists of several requests, each of which needs the answer to the first: for these a
-- thread has one connection.
local open = function(c) return single.open(c) end
local close = function(c, session) return ask("DELETE", "/v1/sync/sessions/" .. session, c.open) end
local sequences = {
    session = { open, close },
    read = {
        open,
        function(c, session) return ask("GET", some_note(c), head(c, session)) end,
        close,
    },
    write = {
        open,
        function(c, session) return ask("POST", "/v1/notes", head(c, session), note) end,
        close,
    },
    -- As an MCP server calls: LOAD_METHOD, LOAD_PATH and LOAD_BODY within a session.
    call = {
        open,
        function(c, session)
            local method, path = os.getenv("LOAD_METHOD"), os.getenv("LOAD_PATH")
            return ask(method, path, head(c, session), os.getenv("LOAD_BODY"))
        end,
        close,
    },
}

-- It is the answer that moves on to the next step: wrk also makes requests that it does not send.
local sequence = sequences[route]
local step, caller, session = 1, nil, nil
if sequence then
    request = function()
        if step == 1 then
            caller = next_caller()
        end
        return sequence[step](caller, session)
    end
    response = function(_, _, body)
        if step == 1 then
            session = body:match('"id":"([^"]+)"')
        end
        step = step % #sequence + 1
    end
else
    request = function() return single[route](next_caller()) end
end

function init()
    for line in io.lines(os.getenv("LOAD_CALLERS")) do
        local number, token, id, epoch = line:match("(%S+) (%S+) (%S+) (%S+)")
        local c = { number = tonumber(number), token = token, epoch = epoch }
        c.open, c.head = head(c), head(c, id)
        table.insert(callers, c)
    end
    -- Threads begin with different callers and different items.
    local place = tonumber(tostring({}):match("0x(%x+)"), 16)
    math.randomseed(place)
    turn = math.random(#callers)
end

function done(summary, latency)
    local e = summary.errors
    io.write(string.format(
        'LOAD {"requests":%d,"seconds":%.6f,"failed":%d,"p50":%.1f,"p99":%.1f}\n',
        summary.requests,
        summary.duration / 1e6,
        e.connect + e.read + e.write + e.status + e.timeout,
        latency:percentile(50),
        latency:percentile(99)
    ))
end
