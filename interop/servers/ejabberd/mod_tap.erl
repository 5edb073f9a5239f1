%% Lets a test see what the server handled: every element from and to a client, as text, one JSON object a line.
%% Also creates the accounts and rosters once the server is up, and then writes its version into READY_FILE.
%% For tests only: it records everything, unless the option `record` is false, for benchmarks.
%%
%% Compiled by the server's own Erlang just before ejabberd starts.
-module(mod_tap).
-behaviour(gen_mod).

-export([start/2, stop/1, depends/2, mod_options/1, mod_opt_type/1, mod_doc/0]).
-export([filter_send/1, handle_send/3, handle_recv/3, started/0]).

-include_lib("ejabberd/include/mod_roster.hrl").

%% Hooks of a lower number run earlier.
-define(FIRST, 0).
-define(LAST, 10000).

start(Host, Opts) ->
    case gen_mod:get_opt(record, Opts) of
        true -> record(Host);
        false -> ok
    end,
    ejabberd_hooks:add(ejabberd_started, ?MODULE, started, ?LAST),
    ok.

record(Host) ->
    ejabberd_hooks:add(c2s_handle_recv, Host, ?MODULE, handle_recv, ?FIRST),
    ejabberd_hooks:add(c2s_filter_send, Host, ?MODULE, filter_send, ?LAST),
    ejabberd_hooks:add(c2s_handle_send, Host, ?MODULE, handle_send, ?FIRST).

stop(_) -> ok.

depends(_Host, _Opts) -> [{mod_roster, hard}].

mod_options(_Host) -> [{file, <<>>}, {record, true}, {accounts, #{}}, {contacts, #{}}].

mod_opt_type(file) -> econf:binary();
mod_opt_type(record) -> econf:bool();
mod_opt_type(accounts) -> econf:map(econf:binary(), econf:binary(), [{return, map}]);
mod_opt_type(contacts) -> econf:map(econf:binary(), econf:list(econf:binary()), [{return, map}]).

mod_doc() -> #{}.

%% In: as it came, before any module of the server touches it.
handle_recv(State, El, _Pkt) ->
    write(<<"in">>, El, State),
    State.

%% Out: a stanza, after all modules, and before it leaves: whoever has seen its effect finds it in the file.
filter_send({Pkt, State}) when element(1, Pkt) =:= message; element(1, Pkt) =:= presence; element(1, Pkt) =:= iq ->
    write(<<"out">>, Pkt, State),
    {Pkt, State#{?MODULE => written}};
filter_send(Dropped) -> Dropped.

%% What did not pass the filter, which is what the stream itself says (SASL, binding, stream management): just sent.
handle_send(#{?MODULE := written} = State, _Pkt, _Result) -> maps:remove(?MODULE, State);
handle_send(State, Pkt, _Result) ->
    write(<<"out">>, Pkt, State),
    State.

write(Direction, Pkt, #{lserver := Host} = State) ->
    Line = jiffy:encode({[
        {at, os:system_time(microsecond)},
        {direction, Direction},
        {client, client(State)},
        {text, fxml:element_to_binary(xmpp:encode(Pkt, <<"jabber:client">>))}
    ]}),
    %% One write that appends: lines of several clients do not mix.
    ok = file:write_file(gen_mod:get_module_opt(Host, ?MODULE, file), [Line, $\n], [append, raw]).

client(#{user := User, server := Server, resource := Resource}) when Resource =/= <<>> ->
    jid:encode(jid:make(User, Server, Resource));
client(_) -> <<>>.

started() ->
    try prepare()
    catch Class:Reason:Stack ->
        %% A hook that fails is logged and forgotten; here nobody would be served.
        io:format("mod_tap failed: ~p:~p ~p~n", [Class, Reason, Stack]),
        halt(1)
    end.

prepare() ->
    [Host] = ejabberd_option:hosts(),
    Accounts = gen_mod:get_module_opt(Host, ?MODULE, accounts),
    Contacts = gen_mod:get_module_opt(Host, ?MODULE, contacts),
    [create(User, Host, Password) || {User, Password} <- maps:to_list(Accounts)],
    [befriend(User, Host, jid:tolower(jid:decode(JID))) || {User, JIDs} <- maps:to_list(Contacts), JID <- JIDs],
    ok = file:write_file(os:getenv("READY_FILE"), [ejabberd_option:version(), $\n], [append, raw]).

create(User, Host, Password) ->
    case ejabberd_auth:try_register(User, Host, Password) of
        ok -> ok;
        {error, exists} -> ok %% it has started again
    end.

befriend(User, Host, JID) ->
    Name = jid:nodeprep(User),
    {atomic, ok} = mod_roster:set_roster(
        #roster{usj = {Name, Host, JID}, us = {Name, Host}, jid = JID, subscription = both}).
