import asyncio, pytest
from tests.slixmpp_e2e.world import *
from slixmpp_e2e.passwords import stretched
from xmpp_e2e.identity import Assurance
async def test_psk(world):
    alice = await world.client(ALICE) ; bob = await world.client(BOB)
    for me, peer in ((alice,"bob@localhost"),(bob,"alice@localhost")):
        e2e(me).switchboard._store.put_secret(peer,"psk","k1",b"k"*32)
    ours, theirs = await world.session(alice,bob)
    assert ours.assurance is theirs.assurance is Assurance.VERIFIED
    assert e2e(alice).trust.show("bob@localhost")
async def test_srp_wrong_then_locked(world):
    alice = await world.client(ALICE) ; bob = await world.client(BOB)
    e2e(alice).switchboard._store.put_secret("bob@localhost","srp","",stretched("secret","alice@localhost","bob@localhost"))
    e2e(bob).switchboard._store.put_secret("alice@localhost","srp","",stretched("wrong","alice@localhost","bob@localhost"))
    for n in range(5):
        link = await e2e(alice).connect(BOB)
        assert await link.ended() is not None
        print(n, e2e(alice).switchboard._store.failures("bob@localhost","srp"), e2e(bob).switchboard._store.failures("alice@localhost","srp"))
    with pytest.raises(Exception) as e:
        await e2e(alice).connect(BOB)
    print(repr(e.value))
async def test_sas(world):
    codes=[]
    async def sas(compare):
        codes.append(compare.decimal); return True
    alice = await world.client(ALICE, sas=sas) ; bob = await world.client(BOB, sas=sas)
    ours, theirs = await world.session(alice,bob)
    ours.request("sas")
    await asyncio.sleep(1)
    assert codes[0]==codes[1]
    assert ours.assurance is theirs.assurance is Assurance.VERIFIED
from slixmpp_e2e.proofs import *
async def test_verify(world):
    async def sas(c): return True
    async def pw(peer): return "secret"
    alice = await world.client(ALICE) ; bob = await world.client(BOB, sas=sas, password=pw)
    ours, theirs = await world.session(alice,bob)
    await e2e(alice).switchboard.proofs.verify(ours,"srp",Prompts(password=pw))
    assert ours.assurance is Assurance.VERIFIED
    await e2e(alice).switchboard.proofs.verify(ours,"sas",Prompts(sas=sas))
    await world.settle(alice,bob)
    assert theirs.assurance is Assurance.VERIFIED
    with pytest.raises(Exception) as e:
        await e2e(bob).switchboard.proofs.verify(theirs,"psk",Prompts())
    print(repr(e.value))
async def test_verify_wrong(world):
    async def pw(peer): return "secret"
    async def wr(peer): return "wrong"
    alice = await world.client(ALICE) ; bob = await world.client(BOB, password=wr)
    ours, theirs = await world.session(alice,bob)
    with pytest.raises(Exception) as e:
        await e2e(bob).switchboard.proofs.verify(theirs,"srp",Prompts(password=pw))
    print(repr(e.value))
    with pytest.raises(Exception) as e:
        await e2e(alice).switchboard.proofs.verify(ours,"srp",Prompts(password=pw))
    print(repr(e.value))
