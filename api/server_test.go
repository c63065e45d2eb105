package api

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeNode counts, and does what its functions say.
type fakeNode struct {
	mu       sync.Mutex
	number   int64
	draining bool
	cache    func(ctx context.Context, r CacheRequest) (CacheAnswer, error)
	stepDown func(ctx context.Context, legion string) error
}

func (f *fakeNode) Status() Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	return Status{Node: "n1", Draining: f.draining, Uptime: 90 * time.Second}
}

func (f *fakeNode) Cache(ctx context.Context, r CacheRequest) (CacheAnswer, error) {
	if f.cache != nil {
		return f.cache(ctx, r)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.number++
	n := f.number
	return CacheAnswer{Found: true, Number: &n}, nil
}

func (f *fakeNode) Drain(_ context.Context, on bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.draining = on
	return nil
}

func (f *fakeNode) StepDown(ctx context.Context, legion string) error {
	if f.stepDown != nil {
		return f.stepDown(ctx, legion)
	}
	return nil
}

func ask(n Node, method, path string, body io.Reader) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	Handler(n).ServeHTTP(w, httptest.NewRequest(method, path, body))
	return w
}

func TestFailures(t *testing.T) {
	for name, tt := range map[string]struct {
		err    error
		status int
		kind   Kind
		text   string
	}{
		"bad request":               {&Error{BadRequest, "no verb"}, 400, BadRequest, "no verb"},
		"not found":                 {&Error{NotFound, "no item"}, 404, NotFound, "no item"},
		"conflict":                  {&Error{Conflict, "is there"}, 409, Conflict, "is there"},
		"no quorum":                 {&Error{NoQuorum, "no quorum"}, 503, NoQuorum, "no quorum"},
		"failed":                    {&Error{Failed, "disk full"}, 500, Failed, "disk full"},
		"wrapped keeps its kind":    {fmt.Errorf("set: %w", &Error{Conflict, "is there"}), 409, Conflict, "is there"},
		"any other error":           {errors.New("disk full"), 500, Failed, "disk full"},
		"out of time is no quorum":  {fmt.Errorf("set: %w", context.DeadlineExceeded), 503, NoQuorum, "not done in time"},
		"a node that stops":         {fmt.Errorf("set: %w", context.Canceled), 503, NoQuorum, "the node is stopping"},
		"a kind of a later version": {&Error{"moved", "is elsewhere"}, 500, "moved", "is elsewhere"},
	} {
		t.Run(name, func(t *testing.T) {
			n := &fakeNode{cache: func(context.Context, CacheRequest) (CacheAnswer, error) { return CacheAnswer{}, tt.err }}
			w := ask(n, http.MethodPost, "/v1/cache", strings.NewReader(`{"verb":"get","key":"a"}`))
			var e Error
			if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil {
				t.Fatalf("answer %q: %v", w.Body, err)
			}
			if w.Code != tt.status || e.Kind != tt.kind || !strings.Contains(e.Text, tt.text) {
				t.Errorf("answer to %v = %d %+v, want %d %s %q", tt.err, w.Code, e, tt.status, tt.kind, tt.text)
			}
		})
	}
}

func TestExitCodes(t *testing.T) {
	for kind, want := range map[Kind]int{Failed: 1, BadRequest: 2, NotFound: 1, Conflict: 1, Unreachable: 3, NoQuorum: 4, "moved": 1} {
		if got := kind.ExitCode(); got != want {
			t.Errorf("%s.ExitCode() = %d, want %d", kind, got, want)
		}
	}
}

func TestRefusedRequests(t *testing.T) {
	deep := strings.Repeat("[", 1<<20)
	for name, tt := range map[string]struct {
		method, path, body string
		status             int
		text               string
	}{
		"empty body":              {"POST", "/v1/cache", "", 400, "not JSON"},
		"not JSON":                {"POST", "/v1/cache", "verb=get", 400, "not JSON"},
		"a list":                  {"POST", "/v1/cache", "[]", 400, "not JSON"},
		"cut short":               {"POST", "/v1/cache", `{"verb":"get"`, 400, "not JSON"},
		"too deep":                {"POST", "/v1/cache", deep, 400, "not JSON"},
		"misspelt key":            {"POST", "/v1/cache", `{"verb":"inc","key":"a","amout":5}`, 400, "amout"},
		"more than one value":     {"POST", "/v1/cache", `{"verb":"get","key":"a"}{"verb":"clear"}`, 400, "goes on"},
		"not UTF-8":               {"POST", "/v1/cache", "{\"verb\":\"get\",\"key\":\"\xff\"}", 400, "UTF-8"},
		"number over 64 bits":     {"POST", "/v1/cache", `{"verb":"inc","key":"a","amount":9223372036854775808}`, 400, "not JSON"},
		"number with a fraction":  {"POST", "/v1/cache", `{"verb":"inc","key":"a","amount":1.5}`, 400, "not JSON"},
		"value that is no base64": {"POST", "/v1/cache", `{"verb":"set","key":"a","value":"%"}`, 400, "not JSON"},
		"longer than any value":   {"POST", "/v1/cache", `{"verb":"` + strings.Repeat("a", maxBody) + `"}`, 400, "longer"},
		"drain with nonsense":     {"POST", "/v1/drain?off=maybe", "", 400, "off=maybe"},
		"wrong method":            {"GET", "/v1/cache", "", 405, "takes POST, not GET"},
		"delete the status":       {"DELETE", "/v1/status", "", 405, "takes GET, not DELETE"},
		"no such path":            {"GET", "/v1/nothing", "", 404, "/v1/nothing"},
		"no path at all":          {"GET", "/", "", 404, "there is no /"},
	} {
		t.Run(name, func(t *testing.T) {
			n := &fakeNode{cache: func(_ context.Context, r CacheRequest) (CacheAnswer, error) {
				t.Errorf("the node was asked for %+v", r)
				return CacheAnswer{}, nil
			}}
			w := ask(n, tt.method, tt.path, strings.NewReader(tt.body))
			var e Error
			if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil {
				t.Fatalf("answer %q: %v", w.Body, err)
			}
			if w.Code != tt.status || !strings.Contains(e.Text, tt.text) {
				t.Errorf("%s %s = %d %q, want %d with %q", tt.method, tt.path, w.Code, e.Text, tt.status, tt.text)
			}
		})
	}
}

func TestLargestValueFits(t *testing.T) {
	value := bytes.Repeat([]byte{0xff}, 1<<20) // the largest blocksize of a cache
	var got CacheRequest
	n := &fakeNode{cache: func(_ context.Context, r CacheRequest) (CacheAnswer, error) {
		got = r
		return CacheAnswer{Found: true}, nil
	}}
	key := strings.Repeat("k", 4096)
	body := fmt.Sprintf(`{"verb":"set","key":%q,"value":%q}`, key, base64.StdEncoding.EncodeToString(value))
	if w := ask(n, http.MethodPost, "/v1/cache", strings.NewReader(body)); w.Code != http.StatusOK {
		t.Fatalf("set of 1 MiB = %d %s", w.Code, w.Body)
	}
	if !bytes.Equal(got.Value, value) || got.Key != key {
		t.Error("the node got another value than was sent")
	}
}

func TestOperationsHaveADeadline(t *testing.T) {
	var left time.Duration
	note := func(ctx context.Context) {
		at, _ := ctx.Deadline() // long ago without one
		left = time.Until(at)
	}
	n := &fakeNode{
		cache: func(ctx context.Context, _ CacheRequest) (CacheAnswer, error) {
			note(ctx)
			return CacheAnswer{}, nil
		},
		stepDown: func(ctx context.Context, _ string) error {
			note(ctx)
			return nil
		},
	}
	ask(n, http.MethodPost, "/v1/cache", strings.NewReader(`{"verb":"get","key":"a"}`))
	if left <= 0 || left > answerWithin {
		t.Errorf("a cache operation has %v, want up to %v", left, answerWithin)
	}
	ask(n, http.MethodPost, "/v1/legions/web/step-down", nil)
	if left <= answerWithin || left > handOverWithin {
		t.Errorf("a step-down has %v, want up to %v", left, handOverWithin)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"verb":"inc","key":"a","amount":-5,"expires_ns":30000000000}`))
	f.Add([]byte(`{"verb":"set","key":"a","value":"aGVsbG8="} `))
	f.Add([]byte(`{"VERB":"get"}{}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r, again CacheRequest
		if decode(bytes.NewReader(b), &r) != nil {
			return
		}
		sent, err := json.Marshal(r)
		if err != nil {
			t.Fatalf("decode(%q) = %+v, which cannot be sent: %v", b, r, err)
		}
		if err := decode(bytes.NewReader(sent), &again); err != nil {
			t.Fatalf("decode(%q): %v", sent, err)
		}
		if back, _ := json.Marshal(again); !bytes.Equal(back, sent) {
			t.Errorf("%q came back as %q", sent, back)
		}
	})
}
