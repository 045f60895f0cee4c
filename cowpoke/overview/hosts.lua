-- Reads what Redis keeps of some hosts, and changes nothing.
--
-- ARGV: events whose state is counted for each host, characters of a text, the names of the lanes'
-- queues after `host.<uuid>` as JSON, host uuids.
-- Returns the time, then one array for each host; `hosts.py` names its members. A value whose key
-- has another type, or that is too long, is false, and is named among the errors.

local most_states, most_chars, most_workers = tonumber(ARGV[1]), tonumber(ARGV[2]), 256
-- Of names and states, which are shown; and of errors of one host.
local most_word, most_errors = 300, 50
local suffixes = cjson.decode(ARGV[3])
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local over = { answered = true, expired = true }
local found = {}

-- The beginning of a word: whoever has the user of a host can write texts of any length.
local function word(text)
  return text and string.sub(text, 1, most_word)
end

for i = 4, #ARGV do
  local host = ARGV[i]
  local errors = {}

  local function note_error(key, reason)
    if #errors >= 2 * most_errors then return end
    errors[#errors + 1] = word(key)
    errors[#errors + 1] = word(reason)
  end

  local function ask(command, key, ...)
    local answer = redis.pcall(command, key, ...)
    if type(answer) == 'table' and answer.err then
      note_error(key, answer.err)
      return false
    end
    return answer
  end

  local function text(key)
    local answer = ask('GETRANGE', key, 0, most_chars)
    if answer and #answer > most_chars then
      note_error(key, 'the text is too long')
      return false
    end
    return answer
  end

  local workers = {}
  for n, worker in ipairs(ask('SMEMBERS', 'cowpoke:workers:' .. host) or {}) do
    if n > most_workers then break end
    local key = 'cowpoke:lease:' .. host .. ':' .. worker
    local left_ms = #worker <= most_word and redis.call('PTTL', key) or -2
    if left_ms ~= -2 then
      local lanes = ask('HMGET', 'cowpoke:figures:' .. host .. ':' .. worker,
        'compute', 'control', 'images') or {}
      local figures = {}
      for n_lane = 1, 3 do
        local said = lanes[n_lane]
        figures[n_lane] = said and #said <= most_chars and said
      end
      workers[#workers + 1] = { worker, left_ms, text(key), figures }
    end
  end

  local queues = {}
  for n, suffix in ipairs(suffixes) do
    local key = 'host.' .. host .. suffix
    local length = ask('LLEN', key)
    local queued_ms = false
    -- The ledger pushes to the left, so the oldest message is at the right end.
    local message = length and length > 0 and ask('LINDEX', key, -1)
    if message and #message <= most_chars then
      local ok, parsed = pcall(cjson.decode, message)
      local headers = ok and type(parsed) == 'table' and parsed.headers
      local id = type(headers) == 'table' and headers.id
      if type(id) == 'string' then
        queued_ms = word(ask('HGET', 'cowpoke:event:' .. host .. ':' .. id, 'queued_ms'))
      end
    end
    queues[n] = { length, queued_ms }
  end

  local open_key = 'cowpoke:open:' .. host
  local open = ask('ZCARD', open_key)
  local states, oldest, oldest_ms = {}, false, nil
  for _, id in ipairs(open and ask('ZRANGE', open_key, 0, most_states - 1) or {}) do
    local fields = ask('HMGET', 'cowpoke:event:' .. host .. ':' .. id, 'state', 'received_ms',
      'deadline_ms', 'name', 'lane')
    local state = fields and fields[1]
    if state == false and fields then
      -- It got lost or expired; the sweeper removes its id.
      open = open - 1
    elseif over[state] then
      open = open - 1
    else
      state = word(state or 'unreadable')
      states[state] = (states[state] or 0) + 1
      local received_ms = fields and tonumber(fields[2])
      -- NaN is no time.
      local is_time = received_ms and received_ms == received_ms
      if is_time and (not oldest_ms or received_ms < oldest_ms) then
        oldest_ms = received_ms
        oldest = { word(id), state }
        for n = 2, 5 do oldest[n + 1] = word(fields[n]) end
      end
    end
  end
  local counts = {}
  for state, count in pairs(states) do
    counts[#counts + 1] = state
    counts[#counts + 1] = count
  end

  found[#found + 1] = {
    host,
    errors,
    workers,
    queues,
    open,
    counts,
    oldest,
    ask('XLEN', 'cowpoke:outbox:' .. host),
    ask('LLEN', 'cowpoke:dead:' .. host),
    text('cowpoke:joined:' .. host),
    text('cowpoke:removed:' .. host),
    text('cowpoke:served:' .. host),
    ask('HKEYS', 'cowpoke:keys:' .. host) or {},
    redis.call('ZSCORE', 'cowpoke:seen', host),
  }
end
return { now_ms, found }
