-- One process is there.
-- KEYS: the epoch, the processes. ARGV: how long an epoch is kept (ms), the process, how long it counts as being there (ms).
-- Answers: the epoch, then the processes.
local epoch = redis.call('GET', KEYS[1])
if not epoch then epoch = now end
redis.call('SET', KEYS[1], epoch, 'PX', ARGV[1])
local now_ms = math.floor(now / 1000)
redis.call('ZADD', KEYS[2], now_ms + tonumber(ARGV[3]), ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now_ms)
redis.call('PEXPIRE', KEYS[2], tonumber(ARGV[3]) + 1000)
return { tonumber(epoch), redis.call('ZRANGE', KEYS[2], 0, -1) }
