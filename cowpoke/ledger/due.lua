-- The index of next checks: which open events a bridge looks at, and when. Only bridges run this.
--
-- KEYS: the index, the set of hosts with open events. ARGV: step, our prefix, the step's arguments.

local due, hosts = KEYS[1], KEYS[2]
local step, PREFIX = ARGV[1], ARGV[2]
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)

-- A key of another type is nothing of ours, and would fail this step for ever.
local function typed(key, wanted)
  local found = redis.call('TYPE', key).ok
  if found ~= 'none' and found ~= wanted then redis.call('DEL', key) end
  return key
end

-- The answer of a command; nil for a key of another type.
local function get(...)
  local found = redis.pcall(...)
  if type(found) == 'table' and found.err then return nil end
  return found
end

-- A number of a hash; nil for what is none, or none that Redis and Lua can count with.
local function number(text)
  local found = tonumber(text or '')
  if found and found == found and math.abs(found) < 2 ^ 53 then return found end
  return nil
end

local function is_open(state)
  return state == 'recorded' or state == 'queued' or state == 'claimed'
end

local function event_key(host, id)
  return PREFIX .. 'event:' .. host .. ':' .. id
end

local function open_key(host)
  return PREFIX .. 'open:' .. host
end

-- The event is in the indexes of open events and of hosts, which may be lost.
local function index(host, id, deadline_ms)
  redis.call('ZADD', typed(open_key(host), 'zset'), 'NX', deadline_ms, id)
  redis.call('SADD', hosts, host)
end

-- The first event in the FIFO of one that is over is looked at soon: a worker may have queued it, and
-- workers cannot write to the index.
local function hasten_next(host, id, soon_ms)
  local fifo = get('HGET', event_key(host, id), 'fifo')
  local first = fifo and fifo ~= '' and get('LINDEX', fifo, 0)
  if first and is_open(get('HGET', event_key(host, first), 'state')) then
    redis.call('ZADD', due, 'LT', now_ms + soon_ms, host .. ' ' .. first)
  end
end

-- Add an event that is over, unless its reply tells of it. A ping is nothing to tell of.
local MOST_FINAL_BYTES = 64 * 1024
local function tell(over, host, id)
  local f = get('HMGET', event_key(host, id), 'reply', 'name', 'state', 'kind', 'lane', 'story',
    'envelope', 'final', 'expired_in')
  if not f or not f[6] or f[2] == 'ping' then return end
  if f[3] ~= 'expired' and (f[3] ~= 'answered' or f[1] == '1') then return end
  over[#over + 1] = id
  for i = 3, 9 do over[#over + 1] = f[i] and #f[i] <= MOST_FINAL_BYTES and f[i] or '' end
end

typed(due, 'zset')
typed(hosts, 'set')

-- Take events whose check is due. What needs nothing is planned anew at once, so that a bridge reads
-- only the rest: these are the cases in which `decide` waits whatever else it sees. Answers how many
-- were due, then those that are to be decided; another bridge takes them again after `held_ms`.
if step == 'take' then
  local most, held_ms, far_ms, queued_ms, margin_ms, overdue_ms, version = unpack(ARGV, 3, 9)
  local is_clock_steady = ARGV[10] == '1'
  most, far_ms, version = tonumber(most), tonumber(far_ms), tonumber(version)
  queued_ms = tonumber(queued_ms)

  local leases = {}
  local function lease(host, worker)
    local key = PREFIX .. 'lease:' .. host .. ':' .. worker
    if leases[key] == nil then leases[key] = get('GET', key) or false end
    return leases[key]
  end

  local function is_alive(host, boot)
    local text = lease(host, string.match(boot, '^[^.]*'))
    return text and string.find(text, '"' .. boot .. '"', 1, true) ~= nil
  end

  local function has_workers(host)
    for _, worker in ipairs(get('SMEMBERS', PREFIX .. 'workers:' .. host) or {}) do
      if lease(host, worker) then return true end
    end
    return false
  end

  -- Whether a FIFO lacks an event: Redis lost it, and a later event began it anew. A long one is not
  -- read to its end: Redis does nothing else meanwhile.
  local function is_missing(fifo, id)
    if get('LPOS', fifo, id, 'MAXLEN', 100) then return false end
    return get('LLEN', fifo) <= 100
  end

  -- When the oldest message of a queue was queued; 0 for one of no open event, false without any.
  local oldest = {}
  local function oldest_ms(host, queue)
    if oldest[queue] == nil then
      local message = get('LINDEX', queue, -1)
      local id = message and string.match(message, '"id": ?"([^"]*)"') or ''
      local f = message and get('HMGET', event_key(host, id), 'state', 'queued_ms') or {}
      oldest[queue] = message and (is_open(f[1]) and number(f[2]) or 0)
    end
    return oldest[queue]
  end

  -- In how many ms an event is looked at again of which nothing has to be done now, and its deadline;
  -- nil when that is to be decided.
  local function rest_ms(host, id)
    local f = get('HMGET', event_key(host, id), 'state', 'deadline_ms', 'received_ms', 'boot',
      'fifo', 'queue', 'queued_ms', 'retry_at_ms', 'rejected_ms', 'v')
    if not f or not is_clock_steady then return nil end
    local state, boot, fifo, queue = f[1], f[4], f[5], f[6]
    local deadline_ms, received_ms = number(f[2]), number(f[3])
    if not is_open(state) or not deadline_ms or not received_ms then return nil end
    if received_ms > now_ms or f[9] or (number(f[10]) or 1) > version then return nil end
    if state == 'claimed' then
      local left_ms = deadline_ms + overdue_ms - now_ms
      if left_ms <= 0 or not boot or not is_alive(host, boot) then return nil end
      return math.min(left_ms, far_ms), deadline_ms
    end
    local left_ms = deadline_ms - margin_ms - now_ms
    if left_ms <= 0 then return nil end
    if state == 'recorded' then
      local first = fifo and get('LINDEX', fifo, 0)
      if not first or first == id then return nil end
      if not is_open(get('HGET', event_key(host, first), 'state')) then return nil end
      if is_missing(fifo, id) then return nil end
      return math.min(left_ms, far_ms), deadline_ms
    end
    if (number(f[8]) or 0) > now_ms then return nil end
    local before_ms = queue and oldest_ms(host, queue)
    if not before_ms or (number(f[7]) or 0) < before_ms then return nil end
    -- It may be lost on its way to a live worker; workers that come are announced.
    return math.min(left_ms, has_workers(host) and queued_ms or far_ms), deadline_ms
  end

  local members = redis.call('ZRANGEBYSCORE', due, '-inf', now_ms, 'LIMIT', 0, most)
  if #members < most then
    -- Nothing is planned that far ahead: the server's clock was set back since.
    local lost = redis.call('ZRANGEBYSCORE', due, '(' .. now_ms + far_ms, '+inf', 'LIMIT', 0,
      most - #members)
    for _, member in ipairs(lost) do members[#members + 1] = member end
  end
  local found, checks = {#members}, {}
  for i, member in ipairs(members) do
    local host, id = string.match(member, '^(%S+) (.*)$')
    local wait_ms, deadline_ms
    if host then wait_ms, deadline_ms = rest_ms(host, id) end
    checks[2 * i - 1], checks[2 * i] = now_ms + (wait_ms or held_ms), member
    if not wait_ms then found[#found + 1] = member end
    -- Changes of its workers make it due only if it is among the open events of its host. What is
    -- looked at again soon need not be.
    if wait_ms and wait_ms > queued_ms and not get('ZSCORE', open_key(host), id) then
      index(host, id, deadline_ms)
    end
  end
  if #checks > 0 then redis.call('ZADD', due, unpack(checks)) end
  return found
end

-- Plan the next checks of a host's events. ARGV: the host, then pairs of an event's id and the time
-- of its next check, 0 for one that was over. An event may have ended or begun anew since it was
-- looked at, so its state decides. Answers the events that are over and whose end no reply tells: their
-- id and some fields, each once.
if step == 'plan' then
  local host, soon_ms = unpack(ARGV, 3, 4)
  local over = {}
  local open = typed(open_key(host), 'zset')
  for i = 5, #ARGV, 2 do
    local id, check_ms = ARGV[i], tonumber(ARGV[i + 1])
    local state = get('HGET', event_key(host, id), 'state')
    -- One that is to be checked and has a state of a later version is left to a later bridge.
    local is_later = check_ms > 0 and state and state ~= 'answered' and state ~= 'expired'
    if is_open(state) or is_later then
      local deadline_ms = number(redis.call('HGET', event_key(host, id), 'deadline_ms'))
      index(host, id, deadline_ms or now_ms)
      redis.call('ZADD', due, check_ms > 0 and check_ms or now_ms + soon_ms, host .. ' ' .. id)
    else
      redis.call('ZREM', open, id)
      if redis.call('ZREM', due, host .. ' ' .. id) == 1 then tell(over, host, id) end
      hasten_next(host, id, soon_ms)
    end
  end
  return over
end

-- Let all open events of some hosts be due now. ARGV: the hosts.
if step == 'hasten' then
  for i = 3, #ARGV do
    for _, id in ipairs(redis.call('ZRANGE', typed(open_key(ARGV[i]), 'zset'), 0, -1)) do
      redis.call('ZADD', due, now_ms, ARGV[i] .. ' ' .. id)
    end
  end
  return 1
end

-- Remove what is left of a host without open events: messages in its queues are of no open event.
local function forget(host, first_queue)
  if redis.call('EXISTS', open_key(host)) == 1 then return end
  for i = first_queue, #ARGV do redis.call('DEL', 'host.' .. host .. ARGV[i]) end
  if redis.call('EXISTS', PREFIX .. 'outbox:' .. host) == 0 then redis.call('SREM', hosts, host) end
end

-- ARGV: a host, then what the names of its queues end with.
if step == 'forget' then
  forget(ARGV[3], 4)
  return 1
end

-- Compare the open events of some hosts with the index: those that are missing are due now. ARGV: a
-- cursor of the set of hosts, how many of them, 1 to have all their events be due now, then the
-- endings of queues. Answers the next cursor.
if step == 'compare' then
  local cursor, number, are_all_due = unpack(ARGV, 3, 5)
  local found = redis.call('SSCAN', hosts, cursor, 'COUNT', number)
  for _, host in ipairs(found[2]) do
    for _, id in ipairs(redis.call('ZRANGE', typed(open_key(host), 'zset'), 0, -1)) do
      local member = host .. ' ' .. id
      if are_all_due == '1' or not redis.call('ZSCORE', due, member) then
        redis.call('ZADD', due, now_ms, member)
      end
    end
    forget(host, 6)
  end
  return found[1]
end

return redis.error_reply('unknown step ' .. tostring(step))
