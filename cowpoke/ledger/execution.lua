-- Steps of worker processes; `common.lua` stands before this.

-- What is left of the event's time. The server's clock may have jumped since the event came: ARGV
-- holds, from `first` on, the time now by each clock it had. The one that shows the least is right.
local function left_ms(first)
  local received_ms = count('received_ms')
  local waited_ms = now_ms - received_ms
  for i = first, #ARGV do
    local by_another_ms = ARGV[i] - received_ms
    if by_another_ms >= 0 and (waited_ms < 0 or by_another_ms < waited_ms) then
      waited_ms = by_another_ms
    end
  end
  return count('deadline_ms') - received_ms - math.max(waited_ms, 0)
end

-- By a worker process: take the event, if no live process has it. Answers {verdict, payload,
-- remaining ms, attempts, now ms, timeout ms, deadline ms}. From ARGV[7] on: readings of clocks.
if step == 'claim' then
  local boot, token, ttl_ms = unpack(ARGV, 4, 6)
  local function claimed(remaining_ms)
    return {'claimed', field('payload') or '', remaining_ms, count('attempts'), now_ms,
      count('timeout_ms'), count('deadline_ms')}
  end
  if not state then return {'gone'} end
  if not is_open(state) then return {'over'} end
  -- A copy of its message that was left over: an earlier event for its resource is not over.
  if state == 'recorded' then return {'waits'} end
  if state == 'claimed' then
    -- The same call again: its answer was lost with a connection.
    if field('boot') == boot and field('token') == token then return claimed(left_ms(7)) end
    if alive(field('boot')) then return {'busy'} end
    redis.call('HINCRBY', key, 'deaths', 1)
    note_end_of_claim('died')
  end
  local remaining_ms = left_ms(7)
  if remaining_ms <= 0 then
    expire(ttl_ms, 'worker')
    return {'expired'}
  end
  redis.call('HSET', key, 'state', 'claimed', 'boot', boot, 'token', token, 'claimed_ms', now_ms)
  redis.call('HINCRBY', key, 'attempts', 1)
  return claimed(remaining_ms)
end

-- By the process that claimed it: back into the queue, since Celery retries it there.
if step == 'retry' then
  local boot, delay_ms, lane, queue, code = unpack(ARGV, 4, 8)
  if state ~= 'claimed' or field('boot') ~= boot then return 0 end
  note_end_of_claim('retry', code)
  redis.call('HSET', key, 'state', 'queued', 'boot', '', 'queued_ms', now_ms,
    'retry_at_ms', now_ms + delay_ms, 'lane', lane, 'queue', queue)
  redis.call('HDEL', key, 'rejected_ms')
  return 1
end

-- By the process that claimed it, which stops before it is done: queue it again. That is no death.
if step == 'requeue' then
  local boot = ARGV[4]
  if state ~= 'claimed' or field('boot') ~= boot then return 0 end
  note_end_of_claim('requeue')
  push(key)
  redis.call('HDEL', key, 'rejected_ms')
  return 1
end

-- By the process that claimed it and cannot read it: another one may be able to, in a while.
if step == 'reject' then
  local boot, delay_ms = unpack(ARGV, 4, 5)
  if state ~= 'claimed' or field('boot') ~= boot then return 0 end
  note_end_of_claim('reject')
  redis.call('HSET', key, 'state', 'queued', 'boot', '', 'queued_ms', now_ms,
    'retry_at_ms', now_ms + delay_ms)
  redis.call('HSETNX', key, 'rejected_ms', now_ms)
  return 1
end

-- By a worker process: the one final outcome; a second one is ignored.
if step == 'complete' then
  local kind, content, ttl_ms, ping_ttl_ms, started_ttl_ms = unpack(ARGV, 4, 8)
  if not is_open(state) then return 0 end
  local is_ping = field('lane') == 'control'
  if kind == 'success' and field('name') == 'compute.instance.activate' then
    redis.call('SET', PREFIX .. 'started:' .. host, now_ms, 'PX', started_ttl_ms)
  end
  if state ~= 'claimed' then
    -- Its process was presumed dead and the event resent: remove the duplicate message.
    unqueue_all()
  end
  answer(kind, content, is_ping and ping_ttl_ms or ttl_ms)
  return 1
end

-- By the process that claimed it: progress, which can never follow the final outcome. cattle waits
-- anew from each one. Answers the new deadline; 0 when the event is not this process's any more.
if step == 'progress' then
  local boot, content, ttl_ms = unpack(ARGV, 4, 6)
  if state ~= 'claimed' or field('boot') ~= boot then return 0 end
  prolong(count('timeout_ms'), ttl_ms, false)
  report('progress', content)
  return count('deadline_ms')
end

return redis.error_reply('unknown step ' .. tostring(step))
