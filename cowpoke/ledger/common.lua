-- The ledger: one hash per event, moved from state to state in one atomic step each.
--
--   accept ─▶ recorded ─▶ queued ─▶ claimed ─▶ answered
--                │           │ ▲        │
--                │           │ └────────┤ retry, requeue, reject, resend
--                └───────────┴──────────┴─▶ expired
--
-- recorded  waits in the FIFO of its resource: an earlier event for the resource is not over
-- queued    its message was pushed to its queue (it may be in a worker's memory, or lost on the way)
-- claimed   a worker process works on it (`boot`)
-- answered  its final outcome is stored, and on its way to cattle if cattle waits for it
-- expired   cattle waits no longer; nothing is sent
--
-- Times are the Redis server's clock in ms, the one clock all programs share. It may jump; see `left_ms`.
-- KEYS[1] is the event's hash. ARGV: step, host, event id, then the step's own arguments.
-- The hash: v (contract version), name, lane, queue, fifo, reply (1 when cattle waits for a reply),
--   envelope (sealed for bridges: what the reply is made of), payload (sealed for the host: the event),
--   message (Celery's), state, received_ms (the last time it came), deadline_ms, timeout_ms (how long
--   cattle waits anew after progress), queued_ms, retry_at_ms, boot, token (of the call that claimed it),
--   claimed_ms, attempts (claims), sends (pushes), deaths (processes that died with it), rejected_ms (the
--   first time a worker could not read it), offline (how it ends without a worker: error or expire), kind
--   and final (the final outcome, sealed), answered_ms, expired_in (where it was when it expired), steps
--   and story (what happened to it, for people: see `note` and `story_of`).
-- A worker's Redis user may use the keys of its host only. So what it has for the bridges goes into the
-- outbox of its host, and DUE and HOSTS are written by bridges alone.

local PREFIX = 'cowpoke:'

local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local key = KEYS[1]
local step, host, id = ARGV[1], ARGV[2], ARGV[3]
local OPEN = PREFIX .. 'open:' .. host
local DOORBELL = PREFIX .. 'doorbell:' .. host

-- A key of another type is nothing of ours, and would fail this step for ever.
local function typed(a_key, wanted)
  local found = redis.call('TYPE', a_key).ok
  if found ~= 'none' and found ~= wanted then redis.call('DEL', a_key) end
  return a_key
end

local function field(name)
  return redis.call('HGET', key, name)
end

-- A counter of the hash; one that is missing or unreadable is 0.
local function count(name)
  local found = tonumber(field(name) or '')
  -- Neither NaN nor a number that Redis cannot count with.
  if found and found == found and math.abs(found) < 2 ^ 53 then return found end
  return 0
end

local function event_key(other_id)
  return PREFIX .. 'event:' .. host .. ':' .. other_id
end

local function begins_with(text, start)
  return text and string.sub(text, 1, #start) == start
end

-- A hash may be forged by its host. A bridge must not touch the keys of others for it, so names of
-- queues and FIFOs count only where they are of this host; false otherwise.
local function own_queue(name)
  local queue = 'host.' .. host
  return (name == queue or begins_with(name, queue .. '.')) and name
end

local function own_fifo()
  local name = field('fifo')
  return begins_with(name, PREFIX .. 'fifo:' .. host .. ':') and name
end

-- A worker's lease lists the boot ids of its processes; a boot id begins with the worker's id.
local function alive(boot)
  if not boot or boot == '' then return false end
  local worker = string.match(boot, '^[^.]*')
  local lease = redis.pcall('GET', PREFIX .. 'lease:' .. host .. ':' .. worker)
  return type(lease) == 'string' and string.find(lease, '"' .. boot .. '"', 1, true) ~= nil
end

-- What happened besides the usual, for people: a line each, `<ms> <step> <detail>`. Kept are the first
-- two lines and the last ones. No decision depends on it. `lines`: times, steps and details by turns.
local STEPS_MOST_BYTES = 4000
local function note(lines)
  local f = redis.call('HMGET', key, 'lane', 'steps')
  -- A ping has no story that anybody reads.
  if f[1] == 'control' then return end
  local steps = f[2] or ''
  if #steps > STEPS_MOST_BYTES then steps = '' end
  for i = 1, #lines, 3 do
    local detail = string.gsub(string.sub(lines[i + 2] or '', 1, 100), '%c', ' ')
    steps = steps .. string.format('%.0f %s %s\n', lines[i], lines[i + 1], detail)
  end
  while #steps > STEPS_MOST_BYTES do
    local first, last = string.match(steps, '^([^\n]*\n[^\n]*\n)[^\n]*\n(.*)$')
    steps = first and first .. last or ''
  end
  redis.call('HSET', key, 'steps', steps)
end

-- The process that claimed the event does not have it any more: when it claimed it, and why not.
local function note_end_of_claim(a_step, detail)
  note({count('claimed_ms'), 'claimed', field('boot') or '', now_ms, a_step, detail or ''})
end

-- The event in the words that the history needs: a line with its times (received, queued, claimed,
-- over), attempts, deaths and last process, then the lines of its steps.
local STORY_FIELDS = {'received_ms', 'queued_ms', 'claimed_ms', 'attempts', 'deaths', 'boot', 'steps'}
local function story_of(f, first)
  local words = {}
  for i = first, first + 5 do words[#words + 1] = f[i] and f[i] ~= '' and f[i] or '-' end
  table.insert(words, 4, string.format('%.0f', now_ms))
  return table.concat(words, ' ') .. '\n' .. (f[first + 6] or '')
end

-- Push the message of an event to its queue. False when its hash names none: its deadline ends it.
local function push(a_key)
  local f = redis.call('HMGET', a_key, 'queue', 'message')
  local queue, message = own_queue(f[1]), f[2]
  if not queue or not message then return false end
  redis.call('LPUSH', typed(queue, 'list'), message)
  redis.call('HSET', a_key, 'state', 'queued', 'queued_ms', now_ms, 'boot', '')
  redis.call('HINCRBY', a_key, 'sends', 1)
  return true
end

-- Take all copies of the event's message out of its queue; how many there were.
local function unqueue_all()
  local queue, message = own_queue(field('queue')), field('message')
  if not queue or not message then return 0 end
  return redis.call('LREM', typed(queue, 'list'), 0, message)
end

-- Take the event's message out of its queue; how many there were. Sweepers go by deadlines, so the
-- message is near one end of the queue as a rule: nothing between is looked at then.
local function unqueue()
  local queue, message = own_queue(field('queue')), field('message')
  if not queue or not message then return 0 end
  local newest = redis.call('LPOS', typed(queue, 'list'), message, 'MAXLEN', 100)
  return redis.call('LREM', queue, newest and 1 or -1, message)
end

local function is_open(a_state)
  return a_state == 'recorded' or a_state == 'queued' or a_state == 'claimed'
end

-- The event at the head of a FIFO, and its state; ids at the head that are over or lost are dropped.
local function head(fifo)
  local first = redis.call('LINDEX', typed(fifo, 'list'), 0)
  while first do
    local its_state = redis.call('HGET', typed(event_key(first), 'hash'), 'state')
    if is_open(its_state) then return first, its_state end
    redis.call('LPOP', fifo)
    first = redis.call('LINDEX', fifo, 0)
  end
  return nil
end

-- Queue the event at the head of a FIFO if it waits there; the id of the head.
local function advance(fifo)
  local first, its_state = head(fifo)
  if its_state == 'recorded' then push(event_key(first)) end
  return first
end

-- The event is over: forget its payload, leave the FIFO, queue the next event for the resource.
local function leave(ttl_ms)
  local fifo = own_fifo()
  redis.call('ZREM', typed(OPEN, 'zset'), id)
  redis.call('HDEL', key, 'payload', 'message')
  redis.call('PEXPIRE', key, ttl_ms)
  if not fifo then return end
  redis.call('LREM', typed(fifo, 'list'), 1, id)
  advance(fifo)
end

-- Hand an outcome to the bridges: into the outbox of the host, and ring. The story of an event is for
-- the history: the bridge that sends the reply writes it there. Where nobody waits for a reply, the
-- hash keeps it until a bridge finds that the event is over.
local function report(kind, content, story)
  local f = redis.call('HMGET', key, 'reply', 'envelope', 'lane', unpack(STORY_FIELDS))
  if not story and kind ~= 'progress' then story = story_of(f, 4) end
  if f[1] ~= '1' then
    if story and field('name') ~= 'ping' then redis.call('HSET', key, 'story', story) end
    return
  end
  redis.call('XADD', typed(PREFIX .. 'outbox:' .. host, 'stream'), '*', 'id', id,
    'lane', f[3] or '', 'kind', kind, 'envelope', f[2] or '', 'content', content,
    'story', story or '')
  redis.call('PUBLISH', DOORBELL, 'outbox')
end

-- A ping that comes again is asked anew: a list of containers is large, and old at once. Redis packs
-- a small hash, but never one that was large before.
local function keep_times(ttl_ms)
  local names = {'v', 'name', 'lane', 'state', 'kind', 'received_ms', 'claimed_ms', 'answered_ms',
    'deadline_ms', 'timeout_ms', 'attempts', 'sends', 'deaths'}
  local kept = {}
  for i, value in ipairs(redis.call('HMGET', key, unpack(names))) do
    if value then
      kept[#kept + 1] = names[i]
      kept[#kept + 1] = value
    end
  end
  redis.call('DEL', key)
  redis.call('HSET', key, unpack(kept))
  redis.call('PEXPIRE', key, ttl_ms)
end

local function answer(kind, content, ttl_ms)
  report(kind, content)
  redis.call('HSET', key, 'state', 'answered', 'answered_ms', now_ms, 'kind', kind, 'boot', '')
  if field('lane') == 'control' then
    leave(ttl_ms)
    keep_times(ttl_ms)
  else
    redis.call('HSET', key, 'final', content)
    leave(ttl_ms)
  end
end

-- `where`: where the event was: recorded (in its FIFO), queue, transit (neither queued nor claimed),
-- worker (a worker got its message too late), claimed (by a process that died).
local function expire(ttl_ms, where)
  local story = story_of(redis.call('HMGET', key, unpack(STORY_FIELDS)), 1)
  redis.call('HSET', key, 'state', 'expired', 'answered_ms', now_ms, 'boot', '', 'expired_in', where,
    'story', story)
  leave(ttl_ms)
end

-- Hash and FIFO live longer than the event, which progress may prolong again and again.
local function keep(ttl_ms)
  redis.call('PEXPIRE', key, ttl_ms)
  local fifo = own_fifo()
  if fifo then redis.call('PEXPIRE', fifo, ttl_ms) end
end

-- cattle waits so long from now on; a deadline that is later already stays.
local function prolong(timeout_ms, ttl_ms, came_again)
  local deadline_ms = now_ms + timeout_ms
  -- A later time of receipt is by a clock that was set back since, and so is the deadline.
  local was_set_back = count('received_ms') > now_ms
  if came_again or was_set_back then redis.call('HSET', key, 'received_ms', now_ms) end
  if deadline_ms <= count('deadline_ms') and not was_set_back then return end
  redis.call('HSET', key, 'deadline_ms', deadline_ms)
  redis.call('ZADD', typed(OPEN, 'zset'), deadline_ms, id)
  keep(timeout_ms + ttl_ms)
end

typed(key, 'hash')
local state = field('state')
