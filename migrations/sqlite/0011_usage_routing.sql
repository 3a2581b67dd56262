-- Why a call went where it went: the route that decided, the arm of its split, and what its session was known by (with
-- `:moved` behind it where it was served elsewhere than it belongs).
ALTER TABLE usage_records ADD COLUMN route TEXT;
ALTER TABLE usage_records ADD COLUMN arm TEXT;
ALTER TABLE usage_records ADD COLUMN affinity TEXT;

-- What the provider's prompt cache saved against uncached input, less what writing it cost more; may be below zero.
ALTER TABLE usage_records ADD COLUMN cache_saved INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage_rollups_hourly ADD COLUMN cache_saved_units INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage_rollups_hourly ADD COLUMN cache_saved_pico INTEGER NOT NULL DEFAULT 0;
