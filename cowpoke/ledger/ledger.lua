-- The ledger: one hash per event, moved from state to state in one atomic step each.
--
--   accept ─▶ recorded ─▶ queued ─▶ taken ─▶ answered
--                │           │ ▲       │
--                │           │ └───────┤ release (a retry), resend (its process died), give_back (it was told to stop)
--                └───────────┴─────────┴─▶ expired (its deadline passed before anybody took it)
--
-- recorded  waits for its turn: an earlier event for the same resource is not over
-- queued    its message was pushed to its queue (it may be in a worker's memory, or lost with it)
-- taken     a worker process works on it (`boot`)
-- answered  its final outcome is stored, and on its way in the stream `outcomes` if cattle waits
-- expired   cattle waits no longer; nothing is sent
--
-- Times are the Redis server's clock in ms: the one clock all programs share. It may jump; see `left_ms`.
-- KEYS[1] is the event's hash. ARGV[1] names the step; the rest is the step's own.
-- The hash: envelope (JSON: what a reply echoes), agent, host, lane, queue, line, reply_to,
--   payload (sealed), message (Celery's), state, received_ms (the last time it came), deadline_ms,
--   timeout_ms (how long cattle waits anew after progress), queued_ms, retry_at_ms, boot,
--   token (of the call that took it), taken_ms, attempts (takes), sends (pushes), deaths (processes
--   that died with it), offline (how it ends without a worker: error or expire), kind and final (the
--   final outcome, sealed), answered_ms, expired_in (where it was when it expired).

local PREFIX = 'cowpoke:'
local OUTCOMES = PREFIX .. 'outcomes'
local CONTROL_OUTCOMES = PREFIX .. 'outcomes.control'
-- cattle sends an id again after 2 s or more; sooner it is the same frame, read by another bridge.
local SAME_FRAME_MS = 1000

local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local key = KEYS[1]

local function field(name)
  return redis.call('HGET', key, name)
end

local function alive(boot)
  return boot and boot ~= '' and redis.call('EXISTS', PREFIX .. 'lease:' .. boot) == 1
end

local function push(event_key)
  local f = redis.call('HMGET', event_key, 'queue', 'message')
  redis.call('LPUSH', f[1], f[2])
  redis.call('HSET', event_key, 'state', 'queued', 'queued_ms', now_ms, 'boot', '')
  redis.call('HINCRBY', event_key, 'sends', 1)
end

local function is_open(a_state)
  return a_state == 'recorded' or a_state == 'queued' or a_state == 'taken'
end

-- The event whose turn it is, and its state; ids at the front that are over or lost are forgotten.
local function front(line)
  local id = redis.call('LINDEX', line, 0)
  while id do
    local its_state = redis.call('HGET', PREFIX .. 'event:' .. id, 'state')
    if is_open(its_state) then return id, its_state end
    redis.call('LPOP', line)
    id = redis.call('LINDEX', line, 0)
  end
  return nil
end

-- The event is over: forget its payload, leave the line, let the next one for the resource go.
local function leave(id, ttl_ms)
  local f = redis.call('HMGET', key, 'host', 'line')
  redis.call('ZREM', PREFIX .. 'open:' .. f[1], id)
  redis.call('HDEL', key, 'payload', 'message')
  redis.call('PEXPIRE', key, ttl_ms)
  local line = f[2]
  if line == '' then return end
  redis.call('LREM', line, 0, id)
  local next_id, next_state = front(line)
  if next_state == 'recorded' then push(PREFIX .. 'event:' .. next_id) end
end

local function report(kind, content)
  local f = redis.call('HMGET', key, 'reply_to', 'envelope', 'agent', 'lane', 'deadline_ms')
  if f[1] == '' then return end
  redis.call('XADD', f[4] == 'control' and CONTROL_OUTCOMES or OUTCOMES, '*', 'envelope', f[2], 'agent', f[3], 'lane', f[4],
    'deadline_ms', f[5], 'kind', kind, 'content', content)
end

local function answer(id, kind, content, ttl_ms)
  redis.call('HSET', key, 'state', 'answered', 'answered_ms', now_ms, 'kind', kind,
    'final', content, 'boot', '')
  report(kind, content)
  leave(id, ttl_ms)
end

-- `where`: where the event was: recorded (waited for its turn), queue, transit (neither queued nor
-- taken), worker (a worker got its message too late), taken (by a process that died).
local function expire(id, ttl_ms, where)
  redis.call('HSET', key, 'state', 'expired', 'answered_ms', now_ms, 'boot', '',
    'expired_in', where)
  leave(id, ttl_ms)
end

-- The same id again after its answer: the answer again. Says what became of the event.
local function repeat_answer(timeout_ms)
  local since_ms = now_ms - field('received_ms')
  -- Negative: the server's clock was set back since.
  local again = since_ms >= SAME_FRAME_MS or since_ms < 0
  redis.call('HSET', key, 'received_ms', now_ms, 'deadline_ms', now_ms + timeout_ms)
  if not again then return 'known' end
  report(field('kind'), field('final'))
  return 'answered'
end

-- cattle waits so long from now on; a deadline that is later already stays.
local function prolong(id, timeout_ms, came_again)
  local deadline_ms = now_ms + timeout_ms
  -- A later time of receipt is by a clock that was set back since, and so is the deadline.
  local was_set_back = tonumber(field('received_ms')) > now_ms
  if came_again or was_set_back then redis.call('HSET', key, 'received_ms', now_ms) end
  if deadline_ms <= tonumber(field('deadline_ms')) and not was_set_back then return end
  redis.call('HSET', key, 'deadline_ms', deadline_ms)
  redis.call('ZADD', PREFIX .. 'open:' .. field('host'), deadline_ms, id)
end

-- What is left of the event's time. The server's clock may have jumped since the event came: ARGV
-- holds, from `first` on, the time now by each clock it had. The one that shows the least is right.
local function left_ms(first)
  local received_ms = tonumber(field('received_ms'))
  local waited_ms = now_ms - received_ms
  for i = first, #ARGV do
    local by_another_ms = ARGV[i] - received_ms
    if by_another_ms >= 0 and (waited_ms < 0 or by_another_ms < waited_ms) then
      waited_ms = by_another_ms
    end
  end
  return field('deadline_ms') - received_ms - math.max(waited_ms, 0)
end

local step = ARGV[1]
local state = field('state')

-- Whether the event is as a sweeper saw it: its state, boot and queued_ms, in ARGV from `first` on.
local function is_as_seen(first)
  if state ~= ARGV[first] or field('boot') ~= ARGV[first + 1] then return false end
  if field('queued_ms') ~= ARGV[first + 2] then return false end
  return state ~= 'taken' or not alive(ARGV[first + 1])
end

if step == 'accept' then
  -- id, envelope, agent, host, lane, queue, line, reply_to, remaining_ms, payload, message,
  -- open_ttl_ms, timeout_ms, offline
  local id, host, line = ARGV[2], ARGV[5], ARGV[8]
  if state == 'answered' then return repeat_answer(ARGV[10]) end
  if is_open(state) then
    -- A call of several sends: cattle waits from the last one.
    prolong(id, ARGV[10], true)
    return 'known'
  end
  if state == 'expired' then
    -- Nobody took it in time, and cattle sends it again: it begins anew.
    if tonumber(ARGV[10]) <= 0 then return 'known' end
    redis.call('DEL', key)
  end
  local deadline_ms = now_ms + ARGV[10]
  redis.call('HSET', key, 'envelope', ARGV[3], 'agent', ARGV[4], 'host', host, 'lane', ARGV[6],
    'queue', ARGV[7], 'line', line, 'reply_to', ARGV[9], 'received_ms', now_ms,
    'deadline_ms', deadline_ms, 'timeout_ms', ARGV[14], 'payload', ARGV[11], 'message', ARGV[12],
    'state', 'recorded', 'queued_ms', now_ms, 'retry_at_ms', 0, 'boot', '', 'attempts', 0,
    'sends', 0, 'deaths', 0, 'offline', ARGV[15])
  redis.call('PEXPIRE', key, ARGV[13])
  redis.call('ZADD', PREFIX .. 'open:' .. host, deadline_ms, id)
  redis.call('SADD', PREFIX .. 'hosts', host)
  if line ~= '' then
    local first = front(line)
    redis.call('RPUSH', line, id)
    redis.call('PEXPIRE', line, ARGV[13])
    if first then return 'recorded' end
  end
  push(key)
  return 'queued'
end

if step == 'refuse' then
  -- id, envelope, agent, reply_to, timeout_ms, content, ttl_ms: answered at once, without any host
  if state == 'answered' then return repeat_answer(ARGV[6]) end
  if state then return 'known' end
  redis.call('HSET', key, 'envelope', ARGV[3], 'agent', ARGV[4], 'host', '', 'lane', '',
    'queue', '', 'line', '', 'reply_to', ARGV[5], 'received_ms', now_ms,
    'deadline_ms', now_ms + ARGV[6])
  answer(ARGV[2], 'error', ARGV[7], ARGV[8])
  return 'refused'
end

if step == 'take' then
  -- id, boot, ttl_ms, token, readings of clocks -> {verdict, payload, envelope, remaining ms,
  -- attempts, now ms, timeout ms}
  if not state then return {'gone'} end
  if state == 'answered' or state == 'expired' then return {'over'} end
  if state == 'taken' then
    if field('boot') == ARGV[3] and field('token') == ARGV[5] then
      -- The same call again, its answer was lost with a connection.
      return {'taken', field('payload'), field('envelope'), left_ms(6), field('attempts'), now_ms,
        field('timeout_ms') or 0}
    end
    if alive(field('boot')) then return {'busy'} end
    redis.call('HINCRBY', key, 'deaths', 1)
  end
  local remaining_ms = left_ms(6)
  if remaining_ms <= 0 then
    expire(ARGV[2], ARGV[4], 'worker')
    return {'expired'}
  end
  redis.call('HSET', key, 'state', 'taken', 'boot', ARGV[3], 'token', ARGV[5],
    'taken_ms', now_ms)
  local attempts = redis.call('HINCRBY', key, 'attempts', 1)
  return {'taken', field('payload'), field('envelope'), remaining_ms, attempts, now_ms,
    field('timeout_ms') or 0}
end

if step == 'release' then
  -- boot, delay_ms, lane, queue: the process that took it puts it back for a retry of Celery's
  if state ~= 'taken' or field('boot') ~= ARGV[2] then return 0 end
  redis.call('HSET', key, 'state', 'queued', 'boot', '', 'queued_ms', now_ms,
    'retry_at_ms', now_ms + ARGV[3], 'lane', ARGV[4], 'queue', ARGV[5])
  return 1
end

if step == 'give_back' then
  -- boot: the process that took it ends in order and could not finish it; that is no death
  if state ~= 'taken' or field('boot') ~= ARGV[2] then return 0 end
  push(key)
  return 1
end

if step == 'settle' then
  -- id, kind, content, ttl_ms, control_ttl_ms, started_ttl_ms: the one final outcome; a second one
  -- is ignored
  if not is_open(state) then return 0 end
  if ARGV[3] == 'success' and field('lane') ~= 'control'
      and string.find(field('envelope'), '"compute.instance.activate', 1, true) then
    redis.call('SET', PREFIX .. 'started:' .. field('host'), now_ms, 'PX', ARGV[7])
  end
  if state ~= 'taken' then
    -- Its process was taken for dead: the copy sent again must not pile up in a queue.
    redis.call('LREM', field('queue'), 0, field('message'))
  end
  answer(ARGV[2], ARGV[3], ARGV[4], field('lane') == 'control' and ARGV[6] or ARGV[5])
  return 1
end

if step == 'fail' then
  -- id, content, ttl_ms, state, boot, queued_ms: answered by a sweeper, if it is as the sweeper saw
  if not is_as_seen(5) then return 0 end
  -- Its message must not pile up in a queue nobody reads.
  redis.call('LREM', field('queue'), 0, field('message'))
  answer(ARGV[2], 'error', ARGV[3], ARGV[4])
  return 1
end

if step == 'expire' then
  -- id, ttl_ms, state, boot, queued_ms, deadline_ms: dropped by a sweeper, if it is as the sweeper
  -- saw and late
  if not is_as_seen(4) or field('deadline_ms') ~= ARGV[7] then return 0 end
  local was_queued = redis.call('LREM', field('queue'), 0, field('message')) > 0
  local where = was_queued and 'queue' or state == 'queued' and 'transit' or state
  expire(ARGV[2], ARGV[3], where)
  return 1
end

if step == 'progress' then
  -- id, content: only while it is worked on, so that it can never follow the final outcome; cattle
  -- waits anew from each one
  if state ~= 'taken' then return 0 end
  prolong(ARGV[2], field('timeout_ms') or 0, false)
  report('progress', ARGV[3])
  return 1
end

if step == 'resend' then
  -- state, boot, queued_ms: if anything moved since the sweeper looked, nothing is done
  if not is_as_seen(2) then return 0 end
  if state == 'taken' then redis.call('HINCRBY', key, 'deaths', 1) end
  push(key)
  return 1
end

return redis.error_reply('unknown step ' .. tostring(step))
