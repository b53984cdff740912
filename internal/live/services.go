package live

import (
	"context"

	"github.com/rushmore/zbus-go/internal/apiconv"
	"github.com/rushmore/zbus-go/internal/apimodel"
	"github.com/rushmore/zbus-go/internal/rpc"
)

// maxServices is the most that the channel rpc has.
const maxServices = 1000

// serviceRow is what is shown of a service in a list.
type serviceRow struct {
	Topic     string              `json:"topic"`
	Rate      float64             `json:"rate"`
	Calls     apimodel.CallCounts `json:"calls"`
	Latency   apimodel.Latency    `json:"latency"`
	LastError *apimodel.CallError `json:"lastError,omitempty"`
	Waiting   int                 `json:"waiting"`
	InFlight  int                 `json:"inFlight"`
	Providers int                 `json:"providers"`
	Methods   int                 `json:"methods"`
}

// serviceList are the figures of rpc.
type serviceList struct {
	Services       []serviceRow            `json:"services"`
	DroppedAnswers apimodel.DroppedAnswers `json:"droppedAnswers"`
}

// serviceFigures are those of one service.
type serviceFigures struct {
	apimodel.Service
	DroppedAnswers apimodel.DroppedAnswers `json:"droppedAnswers"`
}

// services makes the figures of all services.
func (f *figures) services(context.Context, channelKey) (data, same any, err error) {
	calls := f.hub.opts.Calls
	list := serviceList{Services: []serviceRow{}, DroppedAnswers: dropped(calls)}
	for _, t := range f.hub.opts.Broker.System().Topics() {
		if len(list.Services) == maxServices {
			break
		}
		if !t.Calls() {
			continue
		}
		s := apiconv.Service(calls, t)
		list.Services = append(list.Services, serviceRow{
			Topic: s.Topic, Rate: s.Rate, Calls: s.Calls, Latency: s.Latency, LastError: s.LastError,
			Waiting: s.Waiting, InFlight: s.InFlight, Providers: len(s.Providers), Methods: len(s.Methods),
		})
	}
	return list, nil, nil
}

// service makes the figures of one. Schemas may be long and do not change with every
// call; who wants them asks for the service.
func (f *figures) service(_ context.Context, key channelKey) (data, same any, err error) {
	s := apiconv.Service(f.hub.opts.Calls, key.topic)
	for i := range s.Methods {
		s.Methods[i].Params, s.Methods[i].Result = nil, nil
	}
	return serviceFigures{s, dropped(f.hub.opts.Calls)}, nil, nil
}

func dropped(calls *rpc.Table) apimodel.DroppedAnswers {
	d := calls.Drops()
	return apimodel.DroppedAnswers{Late: decimal(int64(d.Late)), Foreign: decimal(int64(d.Foreign)), Orphaned: decimal(int64(d.Orphaned))}
}
