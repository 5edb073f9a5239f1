-- Lets a test see what the server handled: every element from and to a client, as text, one JSON object a line.
-- Also writes its version into READY_FILE once the server is up. For tests only: it records everything, unless
-- tap_record = false, for benchmarks.

module:set_global();

local filters = require "util.filters";
local json = require "util.json";
local now = require "util.time".now;

local FIRST, LAST = 10000, -10000; -- filters of a higher priority run earlier

local record = assert(io.open(assert(module:get_option_string("tap_file"), "tap_file is not set"), "a"));

local function write(direction, stanza, session)
	-- Strings are stream headers and white space: nobody's message. What other servers say is not what clients say.
	if stanza and stanza.attr and session.type:find("^c2s") then
		-- Flushed before the stanza moves on: whoever has seen its effect finds it in the file.
		record:write(json.encode({
			at = math.floor(now() * 1e6);
			direction = direction;
			client = session.full_jid or "";
			text = tostring(stanza);
		}), "\n");
		record:flush();
	end
	return stanza;
end

local function record_in(stanza, session) return write("in", stanza, session); end
local function record_out(stanza, session) return write("out", stanza, session); end

-- In: as it came, before any module of the server touches it. Out: as it leaves, after all of them.
local function watch(session)
	filters.add_filter(session, "stanzas/in", record_in, FIRST);
	filters.add_filter(session, "stanzas/out", record_out, LAST);
end

if module:get_option_boolean("tap_record", true) then
	filters.add_filter_hook(watch);
end

module:hook_global("server-started", function ()
	local ready = assert(io.open(assert(os.getenv("READY_FILE"), "READY_FILE is not set"), "w"));
	ready:write(prosody.version, "\n");
	ready:close();
end, LAST);
