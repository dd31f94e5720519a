package peer;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import org.springframework.beans.factory.annotation.Value;
import org.springframework.context.annotation.Profile;
import org.springframework.kafka.annotation.KafkaListener;
import org.springframework.messaging.Message;
import org.springframework.messaging.handler.annotation.Header;
import org.springframework.messaging.handler.annotation.Payload;
import org.springframework.messaging.handler.annotation.SendTo;
import org.springframework.messaging.support.MessageBuilder;
import org.springframework.stereotype.Component;

/** Calls the backend for each request, on one thread for each partition, and sends its answer as the reply. */
@Component
@Profile("processor")
class Replier {

    static final String METHOD = ":method";
    static final String PATH = ":path";
    static final String STATUS = ":status";

    /** It keeps its connections. */
    private final HttpClient http = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();

    private final String backend;

    Replier(@Value("${BACKEND}") String backend) {
        this.backend = "http://" + backend;
    }

    @KafkaListener(topics = "${REQUESTS}", groupId = "${REQUESTS}", concurrency = "12")
    @SendTo
    public Message<byte[]> answer(
            @Header(METHOD) byte[] method,
            @Header(PATH) byte[] path,
            @Header(name = "content-type", required = false) byte[] type,
            @Payload byte[] body)
            throws IOException, InterruptedException {
        var request = HttpRequest.newBuilder(URI.create(backend + new String(path, UTF_8)))
                .method(new String(method, UTF_8), HttpRequest.BodyPublishers.ofByteArray(body));
        if (type != null) {
            request.header("content-type", new String(type, UTF_8));
        }
        var answer = http.send(request.build(), BodyHandlers.ofByteArray());
        var answerType = answer.headers().firstValue("content-type").orElse("application/octet-stream");
        return MessageBuilder.withPayload(answer.body())
                .setHeader(STATUS, Integer.toString(answer.statusCode()).getBytes(UTF_8))
                .setHeader("content-type", answerType.getBytes(UTF_8))
                .build();
    }
}
