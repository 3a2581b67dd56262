-- The minute that lies behind, counted as `sliding.rs` counts it. A rate is a hash: what each cell holds, by the cell's number, and
--   sum     what they hold together
--   newest  the last cell there was a look at
--   oldest  no older one is kept
--   last    the newest that holds something
-- All numbers are whole and below 2^53. `now` (microseconds) is set by what stands before.
local CELL, CELLS, KEPT_MS = 500000, 121, 62000

local function until_gone(cell)
  return math.max(0, (cell + CELLS) * CELL - now)
end

local function save(rate)
  redis.call('HSET', rate.key, 'sum', rate.sum, 'newest', rate.newest, 'oldest', rate.oldest, 'last', rate.last)
  redis.call('PEXPIRE', rate.key, KEPT_MS)
end

-- Lets go of what is a minute old: of each cell once.
local function open(key)
  local cell = math.floor(now / CELL)
  local head = redis.call('HMGET', key, 'sum', 'newest', 'oldest', 'last')
  if not head[1] then
    return { key = key, sum = 0, newest = cell, oldest = cell, last = cell }
  end
  local rate = {
    key = key, sum = tonumber(head[1]), newest = math.max(cell, tonumber(head[2])),
    oldest = tonumber(head[3]), last = tonumber(head[4]),
  }
  local oldest = rate.newest - CELLS + 1
  if rate.oldest < oldest then
    local gone = {}
    for old = rate.oldest, math.min(oldest - 1, rate.last) do gone[#gone + 1] = old end
    if #gone > 0 then
      for _, units in ipairs(redis.call('HMGET', key, unpack(gone))) do rate.sum = rate.sum - tonumber(units or 0) end
      redis.call('HDEL', key, unpack(gone))
    end
    rate.oldest = oldest
    save(rate)
  end
  return rate
end

-- Where what comes now is counted, also if the clock went back.
local function current(rate)
  local cell = math.floor(now / CELL)
  if cell > rate.newest - CELLS then return cell end
  return rate.newest
end

local function add(rate, units, cell)
  if units == 0 then return end
  redis.call('HINCRBY', rate.key, cell, units)
  if rate.sum == 0 or cell > rate.last then rate.last = cell end
  rate.oldest = math.min(rate.oldest, cell)
  rate.sum = rate.sum + units
  save(rate)
end

-- The cells of the minute from the oldest on, and what they hold.
local function minute(rate)
  local cells = {}
  for cell = rate.newest - CELLS + 1, rate.newest do cells[#cells + 1] = cell end
  return cells, redis.call('HMGET', rate.key, unpack(cells))
end

-- As much of it as is there still.
local function remove(rate, units, cell)
  if cell > rate.newest or cell <= rate.newest - CELLS then return end
  local kept = tonumber(redis.call('HGET', rate.key, cell) or 0)
  local removed = math.min(units, kept)
  if removed == 0 then return end
  rate.sum = rate.sum - removed
  if removed < kept then
    redis.call('HINCRBY', rate.key, cell, -removed)
  else
    redis.call('HDEL', rate.key, cell)
    if cell == rate.last and rate.sum > 0 then
      local cells, values = minute(rate)
      for at, value in ipairs(values) do
        if value then rate.last = cells[at] end
      end
    end
  end
  save(rate)
end

-- Until `units` have left.
local function wait_for(rate, units)
  local left = 0
  local cells, values = minute(rate)
  for at, value in ipairs(values) do
    left = left + tonumber(value or 0)
    if left >= units then return until_gone(cells[at]) end
  end
  return until_gone(rate.newest)
end

-- Until all has left.
local function reset(rate)
  if rate.sum == 0 then return 0 end
  return until_gone(rate.last)
end
