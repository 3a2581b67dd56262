-- Places that are held still.
-- KEYS: the places of one holder. ARGV: for how long (ms), the names of the places.
local due = math.floor(now / 1000) + tonumber(ARGV[1])
for at = 2, #ARGV do redis.call('ZADD', KEYS[1], due, ARGV[at]) end
redis.call('PEXPIRE', KEYS[1], tonumber(ARGV[1]) + 1000)
return 0
