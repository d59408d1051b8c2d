// Lua, run inside of Redis (5 and later) and Valkey. The keys of each: the hash of services, the sorted set of when each ends
// in milliseconds of Redis' own clock. A number is written with %.0f, since Lua would round a long one.

const now = `local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
`;

/**
 * Keeps a service until its time has passed. Arguments: which one, its JSON or nothing for what is there already, how long it lives in
 * milliseconds. Takes away those whose time has passed, a thousand at most. Answers 0 where there is nothing to renew.
 */
export const registerScript = `${now}
local gone = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now), 'LIMIT', 0, 1000)
if #gone > 0 then
  redis.call('HDEL', KEYS[1], unpack(gone))
  redis.call('ZREM', KEYS[2], unpack(gone))
end
if ARGV[2] ~= '' then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
elseif redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then
  return 0
end
redis.call('ZADD', KEYS[2], string.format('%.0f', now + ARGV[3]), ARGV[1])
local last = redis.call('ZREVRANGE', KEYS[2], 0, 0, 'WITHSCORES')[2]
redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', last))
redis.call('PEXPIREAT', KEYS[2], string.format('%.0f', last))
return 1
`;

/** Forgets a service. Argument: which one. */
export const deregisterScript = `redis.call('ZREM', KEYS[2], ARGV[1])
return redis.call('HDEL', KEYS[1], ARGV[1])
`;

/** Answers the JSON of each service whose time has not passed. Writes nothing. */
export const getScript = `${now}
local alive = redis.call('ZRANGEBYSCORE', KEYS[2], string.format('(%.0f', now), '+inf')
local found = {}
for first = 1, #alive, 1000 do
  local part = redis.call('HMGET', KEYS[1], unpack(alive, first, math.min(first + 999, #alive)))
  for _, service in ipairs(part) do
    if service then found[#found + 1] = service end
  end
end
return found
`;
