-- Requests at an instance that is down are given up; one rule: not in the moment it goes down.
--
-- HAProxy's own `on-marked-down shutdown-sessions` acts in that very moment, and so also ends
-- requests that were refused there and are about to be tried elsewhere. A little later those are
-- elsewhere, and what is left waits for an instance that stopped.

local often_milliseconds = 200

local function is_down(server)
    return string.sub(server:get_stats().status, 1, 4) == "DOWN"
end

core.register_task(function()
    local was_down = {}
    while true do
        core.msleep(often_milliseconds)
        for _, backend in pairs(core.backends) do
            for _, server in pairs(backend.servers) do
                local down = is_down(server)
                if down and was_down[server] then
                    server:shut_sess()
                end
                was_down[server] = down or nil
            end
        end
    end
end)
