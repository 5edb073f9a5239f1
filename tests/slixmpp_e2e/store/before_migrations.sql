BEGIN TRANSACTION;
CREATE TABLE failures (
	peer TEXT NOT NULL,
	kind TEXT NOT NULL,
	count INTEGER NOT NULL,
	CONSTRAINT pk_failures PRIMARY KEY (peer, kind)
);
INSERT INTO "failures" VALUES('eve@example.org','srp',2);
CREATE TABLE history (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	peer TEXT NOT NULL,
	at DOUBLE NOT NULL,
	fingerprint TEXT NOT NULL,
	what TEXT NOT NULL,
	assurance TEXT NOT NULL,
	method TEXT NOT NULL
);
INSERT INTO "history" VALUES(1,'bob@example.org',1.0,'SHA256:QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE','accepted','vouched','route');
INSERT INTO "history" VALUES(2,'bob@example.org',2.5,'SHA256:QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI','pinned','verified','pin');
INSERT INTO "history" VALUES(3,'eve@example.org',3.0,'SHA256:RUVFRUVFRUVFRUVFRUVFRUVFRUVFRUVFRUVFRUVFRUU','blocked','none','block');
INSERT INTO "history" VALUES(4,'bob@example.org',4.0,'SHA256:QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE','forgotten','vouched','route');
CREATE TABLE identity (
	generation INTEGER NOT NULL,
	certificate BLOB NOT NULL,
	private_key BLOB NOT NULL,
	CONSTRAINT pk_identity PRIMARY KEY (generation)
);
INSERT INTO "identity" VALUES(1,X'6365727469666963617465',X'6A374D3F0C0343D3D4976FF86530483C28794992E0CFA9E7131CE7F1BF6E63723D5A7C40E6A967');
CREATE TABLE meta (
	name TEXT NOT NULL,
	value TEXT NOT NULL,
	CONSTRAINT pk_meta PRIMARY KEY (name)
);
INSERT INTO "meta" VALUES('xmpp-e2e schema','1');
INSERT INTO "meta" VALUES('key check','qH1G20My1iLhfvEzYk2E/cNETsSIR6Ipbh7pcNrhypbooGKx');
CREATE TABLE policy (
	peer TEXT NOT NULL,
	policy TEXT,
	trust_model TEXT,
	plaintext_allowed BOOLEAN NOT NULL,
	on_key_change TEXT,
	CONSTRAINT pk_policy PRIMARY KEY (peer)
);
INSERT INTO "policy" VALUES('bob@example.org','require',NULL,0,NULL);
CREATE TABLE secrets (
	peer TEXT NOT NULL,
	kind TEXT NOT NULL,
	key_id TEXT NOT NULL,
	value BLOB NOT NULL,
	CONSTRAINT pk_secrets PRIMARY KEY (peer, kind, key_id)
);
INSERT INTO "secrets" VALUES('bob@example.org','psk','1',X'5A953CE6E897C42EFF3913ABA11320CF103E3201BC84801053491D610640D651858F4445B9A7125D67FB2CDC81D607664AB7A403784B4012');
CREATE TABLE seen (
	peer TEXT NOT NULL,
	first DOUBLE NOT NULL,
	last DOUBLE NOT NULL,
	CONSTRAINT pk_seen PRIMARY KEY (peer)
);
INSERT INTO "seen" VALUES('bob@example.org',5.0,5.0);
CREATE TABLE trust (
	peer TEXT NOT NULL,
	fingerprint TEXT NOT NULL,
	assurance TEXT NOT NULL,
	method TEXT NOT NULL,
	since DOUBLE NOT NULL,
	blocked BOOLEAN NOT NULL,
	CONSTRAINT pk_trust PRIMARY KEY (peer, fingerprint)
);
INSERT INTO "trust" VALUES('bob@example.org','SHA256:QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI','verified','pin',2.5,0);
INSERT INTO "trust" VALUES('eve@example.org','SHA256:RUVFRUVFRUVFRUVFRUVFRUVFRUVFRUVFRUVFRUVFRUU','none','block',3.0,1);
CREATE INDEX ix_history_peer ON history (peer);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('history',4);
COMMIT;
