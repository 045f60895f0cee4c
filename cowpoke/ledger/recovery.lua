-- Steps of sweepers; `common.lua` stands before this.

-- Whether the event is as a sweeper saw it: ARGV[4] to ARGV[7]. Times alone say too little, because
-- two sweepers may act in the same ms.
local function is_as_seen(is_overdue)
  local seen_state, seen_boot, seen_queued_ms, seen_sends = unpack(ARGV, 4, 7)
  local boot = field('boot') or ''
  if state ~= seen_state or boot ~= seen_boot then return false end
  if count('queued_ms') ~= tonumber(seen_queued_ms) then return false end
  if count('sends') ~= tonumber(seen_sends) then return false end
  return state ~= 'claimed' or is_overdue or not alive(boot)
end

-- By a sweeper: answer an event that no worker will, if it is as the sweeper saw it.
if step == 'fail' then
  local content, ttl_ms, ping_ttl_ms = unpack(ARGV, 8, 10)
  if not is_as_seen() then return 0 end
  -- Its message must not pile up in a queue nobody reads.
  if state ~= 'recorded' then unqueue() end
  if state == 'claimed' then note_end_of_claim('died') end
  answer('error', content, field('lane') == 'control' and ping_ttl_ms or ttl_ms)
  return 1
end

-- By a sweeper: drop an event that cattle does not wait for any more, if it is as the sweeper saw it.
if step == 'expire' then
  local seen_deadline_ms, ttl_ms, is_overdue = unpack(ARGV, 8, 10)
  if not is_as_seen(is_overdue == '1') then return 0 end
  if count('deadline_ms') ~= tonumber(seen_deadline_ms) then return 0 end
  local was_queued = state ~= 'recorded' and unqueue() > 0
  if state == 'claimed' then note_end_of_claim('died') end
  expire(ttl_ms, was_queued and 'queue' or state == 'queued' and 'transit' or state)
  return 1
end

-- By a sweeper: queue an event again whose message or process was lost, if it is as the sweeper saw it.
if step == 'resend' then
  local ttl_ms = ARGV[8]
  if not is_as_seen() then return 0 end
  local fifo = own_fifo()
  if state == 'recorded' and fifo then
    -- Its FIFO may be lost, or ids at the head of it.
    if not redis.call('LPOS', typed(fifo, 'list'), id) then
      redis.call('RPUSH', fifo, id)
      redis.call('PEXPIRE', fifo, ttl_ms)
    end
    return advance(fifo) == id and 1 or 0
  end
  if state == 'claimed' then
    redis.call('HINCRBY', key, 'deaths', 1)
    redis.call('HDEL', key, 'rejected_ms')
    note_end_of_claim('died')
  end
  note({now_ms, 'resend', state})
  return push(key) and 1 or 0
end

-- By a person: queue an event now that waits for its next try. The message of that try finds it claimed
-- or over. Answers `queued`, or what the event does instead; nil for one that is unknown.
if step == 'hurry' then
  if state ~= 'queued' then return state or nil end
  local is_waiting = count('retry_at_ms') > now_ms
  if not is_waiting then return 'waiting' end
  if count('deadline_ms') <= now_ms then return 'late' end
  redis.call('HSET', key, 'retry_at_ms', 0)
  redis.call('HDEL', key, 'rejected_ms')
  note({now_ms, 'hurry', ''})
  return push(key) and 'queued' or 'waiting'
end

-- By a person: answer an event with an error, whoever has it. A process that works on it finds out when
-- it reports progress or completes it.
if step == 'dismiss' then
  local content, ttl_ms, ping_ttl_ms = unpack(ARGV, 4, 6)
  if not is_open(state) then return state or nil end
  if state == 'claimed' then
    note_end_of_claim('dismiss')
  else
    note({now_ms, 'dismiss', ''})
  end
  if state ~= 'recorded' then unqueue_all() end
  answer('error', content, field('lane') == 'control' and ping_ttl_ms or ttl_ms)
  return 'dropped'
end

-- By a sweeper: forget an event whose hash it cannot read, once its deadline has passed. Where the
-- hash does not say it, the index of open events does. Later than any deadline is none.
if step == 'drop' then
  local most_ms = ARGV[4]
  local indexed_ms = tonumber(redis.call('ZSCORE', typed(OPEN, 'zset'), id) or '')
  local deadline_ms = count('deadline_ms')
  if deadline_ms == 0 then deadline_ms = indexed_ms or 0 end
  if indexed_ms and deadline_ms > now_ms and deadline_ms < now_ms + most_ms then return 0 end
  local fifo = own_fifo()
  redis.call('DEL', key)
  redis.call('ZREM', OPEN, id)
  if fifo then advance(fifo) end
  return 1
end

return redis.error_reply('unknown step ' .. tostring(step))
