module github.com/cohortd/cohort/e2e/bench

go 1.26
