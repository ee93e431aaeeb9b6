# Everything here sets itself up. The first target a newcomer needs: make demo. List: make help.
SHELL := /bin/bash
NODE24 := node services/cli/node24.js
VITEST := $(NODE24) node_modules/vitest/vitest.mjs run
RESULTS := test/results

.PHONY: help install demo test check conformance distributed prove-sidecar prove-distributed prove-conformance simulation mutations prove-simulation bench assets

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-17s %s\n", $$1, $$2 }'

# npm writes this file at the end of an installation, so it is older than the lock file exactly if it is outdated.
node_modules/.package-lock.json: package-lock.json
	npm ci --ignore-scripts --no-audit --no-fund
	@touch $@

install: node_modules/.package-lock.json ## npm ci, if package-lock.json has changed since

demo: install ## 3,600 watches through dogwatch; KUBECONFIG=... for a cluster of yours, DEMO_SECONDS=... to stop by itself
	$(NODE24) bench/demo.main.ts

test: install ## format, lint, types, unused code; unit, property and integration tests
	npm run --silent format:check
	npm run --silent lint
	npm run --silent types
	npm run --silent unused
	$(VITEST) --project unit --project integration --reporter=default --reporter=json --outputFile.json=$(RESULTS)/test.json

check: install ## what to run before a commit: format, lint, types, unused code, unit tests
	npm run --silent check

assets: install ## builds kube-apiserver, etcd and the other real components, once (needs Go)
	$(NODE24) test/support/assets.main.ts

conformance: assets ## dogwatch in front of a real control plane: kubectl, informers, kubelets, upstream's own suites
	$(VITEST) --project conformance --reporter=default --reporter=json --outputFile.json=$(RESULTS)/conformance-suites.json

simulation: install ## 1,000 fresh seeds of the deterministic simulation; SEEDS=... for more
	$(NODE24) test/simulation/simulate.main.ts --seeds $(or $(SEEDS),1000)

mutations: install ## plants bugs one by one: the simulation, or a test named with it, must catch each
	$(NODE24) test/mutations/mutants.main.ts

prove-simulation: install ## 100,000 fresh seeds
	$(NODE24) test/simulation/simulate.main.ts --seeds 100000

SIDECAR := $(addprefix conformance/,streams kubectl streaming rights kubelet informers upstream-cases fanin upstream-restart sidecar-restart idle-memory burst)
prove-sidecar: assets ## all that the README claims of the sidecar, at full size, written to test/results/sidecar.json
	$(NODE24) test/support/prove.main.ts sidecar $(SIDECAR)

THROUGH_CLUSTER := $(addprefix test/conformance/,$(addsuffix .test.ts,streams kubectl informers rights))
distributed: assets ## ingests, shards and fan-outs over NATS: conformance suites through them, and what only they promise
	@status=0; \
	CONFORMANCE_TARGET=cluster $(VITEST) --project conformance --reporter=default --reporter=json --outputFile.json=$(RESULTS)/through-cluster.json $(THROUGH_CLUSTER) || status=1; \
	$(VITEST) --project distributed --reporter=default --reporter=json --outputFile.json=$(RESULTS)/distributed-suites.json || status=1; \
	exit $$status

DISTRIBUTED := $(addprefix conformance/,streams kubectl streaming rights kubelet informers upstream-cases fanin upstream-restart) $(addprefix distributed/,smoke order chaos outage resume conflation boot scaling interest lag rate helm helm-values image)
prove-distributed: assets ## all that is claimed of the distributed form, at full size, written to test/results/distributed.json
	$(NODE24) test/support/prove.main.ts distributed $(DISTRIBUTED)

CONFORMANCE := $(addprefix conformance/,e2e storage-cases differential freshness reads encodings watch-rows watch-wire crds crd-fields shards whole-cluster clients informers)
ON_KINE := $(addprefix conformance/,streams streaming kubectl rights reads watch-rows watch-wire encodings crds crd-fields informers)
prove-conformance: assets ## the contract of kube-apiserver, through the sidecar and the distributed form, written to test/results/conformance.json
	$(NODE24) test/support/prove.main.ts conformance $(foreach target,sidecar cluster,$(addprefix $(target):,$(CONFORMANCE))) $(addprefix sidecar+kine:,$(ON_KINE))

bench: assets ## kube-apiserver and dogwatch in turn on the same events
	$(NODE24) bench/compare.main.ts
