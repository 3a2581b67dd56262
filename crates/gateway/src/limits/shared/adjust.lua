-- What turned out otherwise than it was counted.
-- KEYS: one rate. ARGV: pairs of a cell and the units that are too few in it, or below zero too many. What is too few counts from
-- now on, whatever the cell.
local rate = open(KEYS[1])
for at = 1, #ARGV, 2 do
  local units = tonumber(ARGV[at + 1])
  if units > 0 then
    add(rate, units, rate.newest)
  else
    remove(rate, -units, tonumber(ARGV[at]))
  end
end
return 0
