package storagecases

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// maxBody bounds what is read of one answer that is no stream.
const maxBody = 64 << 20

// client sends JSON requests to one server.
type client struct {
	http *http.Client
	base string
}

func newClient(kubeconfig string) (*client, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	config.DisableCompression = true
	httpClient, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	return &client{http: httpClient, base: config.Host}, nil
}

// do sends `in` (nil: no body) and reads the answer into `out` (nil: not read). A status over 299 is an
// *apierrors.StatusError.
func (c *client) do(ctx context.Context, method, path string, query url.Values, in, out any) error {
	response, err := c.open(ctx, method, path, query, in)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(body, out)
}

// open sends a request and gives the answer of status 200 to 299; the caller closes its body.
func (c *client) open(ctx context.Context, method, path string, query url.Values, in any) (*http.Response, error) {
	var body io.Reader
	if in != nil {
		encoded, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(encoded)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.base+path+"?"+query.Encode(), body)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("Content-Type", "application/json")
	response, err := c.http.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode <= 299 {
		return response, nil
	}
	defer response.Body.Close()
	return nil, statusError(response)
}

// unstructuredReasons: kube-apiserver answers so for a path whose custom resource it does not serve yet.
var unstructuredReasons = map[int]metav1.StatusReason{http.StatusNotFound: metav1.StatusReasonNotFound}

func statusError(response *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	if err != nil {
		return err
	}
	status := metav1.Status{}
	if json.Unmarshal(body, &status) == nil && status.Kind == "Status" {
		return &apierrors.StatusError{ErrStatus: status}
	}
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Code:    int32(response.StatusCode),
		Reason:  unstructuredReasons[response.StatusCode],
		Message: fmt.Sprintf("%s without a Status: %.200s", response.Status, body),
	}}
}
