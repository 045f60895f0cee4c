-- Steps of the bridges' intake; `common.lua` stands before this.

local DUE = PREFIX .. 'due'
local HOSTS = PREFIX .. 'hosts'

-- cattle sends an id again after the timeout of the event, 2 s or more; sooner it is the same frame,
-- read by another bridge. A bridge on a busy machine, or one that is told to stop, reads its sockets
-- seconds late. Half of the timeout: the bridge that read the frame first may have been late too.
local SAME_FRAME_LEAST_MS = 1000
local function is_same_frame(timeout_ms)
  local since_ms = now_ms - count('received_ms')
  -- Negative: the server's clock was set back since.
  return since_ms >= 0 and since_ms < math.max(SAME_FRAME_LEAST_MS, timeout_ms / 2)
end

-- The same id again after its answer. Says what became of the event; nil when the answer was not
-- kept, so that the event begins anew.
local function repeat_answer(envelope, remaining_ms, timeout_ms)
  if is_same_frame(timeout_ms) then return 'known' end
  local kind, final = field('kind'), field('final')
  if not kind or not final then return nil end
  redis.call('HSET', key, 'received_ms', now_ms, 'deadline_ms', now_ms + remaining_ms,
    'envelope', envelope)
  report(kind, final)
  return 'answered'
end

-- The event is in the indexes: of its host's open events, and of next checks. One that is there
-- already stays where it is.
local function index(deadline_ms, check_ms)
  redis.call('ZADD', typed(OPEN, 'zset'), 'NX', deadline_ms, id)
  redis.call('ZADD', typed(DUE, 'zset'), 'NX', now_ms + check_ms, host .. ' ' .. id)
  redis.call('SADD', typed(HOSTS, 'set'), host)
end

-- By a bridge: record an event, and queue it unless an earlier one for its resource is not over.
if step == 'accept' then
  local version, name, lane, queue, fifo, reply = unpack(ARGV, 4, 9)
  local envelope, payload, message, offline = unpack(ARGV, 10, 13)
  local remaining_ms, timeout_ms, ttl_ms, check_ms = unpack(ARGV, 14, 17)
  if state == 'answered' then
    local answered = repeat_answer(envelope, remaining_ms, timeout_ms)
    if answered then return answered end
  end
  if is_open(state) then
    -- A call of several sends: cattle waits from the last one. What is in the hash may have been
    -- changed by others; this copy is cattle's.
    redis.call('HSET', key, 'envelope', envelope, 'payload', payload, 'reply', reply)
    prolong(remaining_ms, ttl_ms, not is_same_frame(timeout_ms))
    index(count('deadline_ms'), check_ms)
    if redis.call('HDEL', key, 'rejected_ms') == 1 and state == 'queued' then push(key) end
    return 'known'
  end
  -- What expired (nobody claimed it in time) and a ping that was answered begin anew.
  if state and tonumber(remaining_ms) <= 0 then return 'known' end
  redis.call('DEL', key)
  local deadline_ms = now_ms + remaining_ms
  redis.call('HSET', key, 'v', version, 'name', name, 'lane', lane, 'queue', queue, 'fifo', fifo,
    'reply', reply, 'envelope', envelope, 'payload', payload, 'message', message, 'offline', offline,
    'state', 'recorded', 'received_ms', now_ms, 'deadline_ms', deadline_ms, 'timeout_ms', timeout_ms,
    'queued_ms', now_ms, 'retry_at_ms', 0, 'boot', '', 'attempts', 0, 'sends', 0, 'deaths', 0)
  redis.call('PEXPIRE', key, ttl_ms)
  redis.call('ZREM', typed(OPEN, 'zset'), id)
  index(deadline_ms, check_ms)
  if fifo == '' then
    push(key)
    return 'queued'
  end
  redis.call('RPUSH', typed(fifo, 'list'), id)
  redis.call('PEXPIRE', fifo, ttl_ms)
  return advance(fifo) == id and 'queued' or 'recorded'
end

-- By a bridge: answer an event at once, without a worker.
if step == 'refuse' then
  local version, name, reply, envelope, content, timeout_ms, ttl_ms = unpack(ARGV, 4, 10)
  if state == 'answered' then
    local answered = repeat_answer(envelope, timeout_ms, timeout_ms)
    if answered then return answered end
  end
  if is_open(state) then return 'known' end
  redis.call('DEL', key)
  redis.call('HSET', key, 'v', version, 'name', name, 'lane', '', 'queue', '', 'fifo', '',
    'reply', reply, 'envelope', envelope, 'received_ms', now_ms, 'deadline_ms', now_ms + timeout_ms)
  -- Bridges look for outboxes at the hosts of this set.
  redis.call('SADD', typed(HOSTS, 'set'), host)
  answer('error', content, ttl_ms)
  return 'refused'
end

return redis.error_reply('unknown step ' .. tostring(step))
