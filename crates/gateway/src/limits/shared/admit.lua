-- One request: one of each limit, or nothing of any.
-- KEYS: the epoch, then what counts for each limit, in the order they are asked.
-- ARGV: how long an epoch is kept (ms), the name of the place (none: only a look is taken), how long a place is held (ms); then for
-- each limit `place` or `rate`, the units asked for, the limit.
-- Answers: the epoch, the time (µs), which limit refused (0: none), when what it asked for can be had (µs); then for each limit that
-- was asked what is used of it and when all of it can be had again (µs).
local epoch = redis.call('GET', KEYS[1])
if not epoch then
  epoch = now
  redis.call('SET', KEYS[1], epoch, 'PX', ARGV[1])
end
local place, held_ms, now_ms = ARGV[2], tonumber(ARGV[3]), math.floor(now / 1000)
local told, taken = { tonumber(epoch), now, 0, 0 }, {}

for at = 2, #KEYS do
  local first = 3 * (at - 2) + 4
  local kind, units, limit = ARGV[first], tonumber(ARGV[first + 1]), tonumber(ARGV[first + 2])
  local used, all, wait
  if kind == 'place' then
    redis.call('ZREMRANGEBYSCORE', KEYS[at], '-inf', now_ms)
    used, all = redis.call('ZCARD', KEYS[at]), 0
    if used + units > limit then wait = 0 else taken[#taken + 1] = { place = KEYS[at] } end
  else
    local rate = open(KEYS[at])
    units = math.min(units, math.max(limit, 1))
    if rate.sum + units > limit then
      used, all, wait = rate.sum, reset(rate), wait_for(rate, rate.sum + units - limit)
    else
      used = rate.sum + units
      all = units > 0 and until_gone(math.max(current(rate), rate.sum > 0 and rate.last or 0)) or reset(rate)
      taken[#taken + 1] = { rate = rate, units = units }
    end
  end
  told[#told + 1] = used
  told[#told + 1] = all
  if wait then
    told[3], told[4] = at - 1, wait
    return told
  end
end

if place ~= '' then
  for _, each in ipairs(taken) do
    if each.rate then
      add(each.rate, each.units, current(each.rate))
    else
      redis.call('ZADD', each.place, now_ms + held_ms, place)
      redis.call('PEXPIRE', each.place, held_ms + 1000)
    end
  end
end
return told
