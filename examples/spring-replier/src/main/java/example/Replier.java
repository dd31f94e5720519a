package example;

import static java.nio.charset.StandardCharsets.UTF_8;

import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.kafka.annotation.KafkaListener;
import org.springframework.messaging.Message;
import org.springframework.messaging.MessageHeaders;
import org.springframework.messaging.handler.annotation.Header;
import org.springframework.messaging.handler.annotation.Payload;
import org.springframework.messaging.handler.annotation.SendTo;
import org.springframework.messaging.support.MessageBuilder;

/** Answers HTTP requests that come as Kafka records. */
@SpringBootApplication
public class Replier {

    private final Verses verses;

    Replier(Verses verses) {
        this.verses = verses;
    }

    public static void main(String[] args) {
        SpringApplication.run(Replier.class, args);
    }

    /** The result goes where the request says: kafka_replyTopic, kafka_replyPartition, kafka_correlationId. */
    @KafkaListener(topics = "${greetings.request-topic}")
    @SendTo
    public Message<byte[]> answer(
            @Header(":method") String method,
            @Header(":path") String path,
            @Header("khp-deadline") String deadline,
            MessageHeaders headers,
            @Payload byte[] body) {
        if (Long.parseLong(deadline) < System.currentTimeMillis()) {
            return null; // Nobody waits any more: no reply is sent.
        }
        String name = path.substring(path.lastIndexOf('/') + 1);
        if (path.startsWith("/verses/") && Verses.areWanted(headers)) {
            verses.send(headers, name);
            return null; // The pieces are the reply.
        }
        return switch (method) {
            case "GET" -> reply(200, "Hello, " + name + "!\n");
            case "POST" -> reply(201, new String(body, UTF_8) + ", " + name + "!\n");
            default -> reply(405, "GET and POST are served here.\n");
        };
    }

    /** An HTTP answer as a record: the status and the fields are headers, the body is the value. */
    private static Message<byte[]> reply(int status, String text) {
        return MessageBuilder.withPayload(text.getBytes(UTF_8))
                .setHeader(":status", Integer.toString(status).getBytes(UTF_8))
                .setHeader("content-type", "text/plain; charset=utf-8".getBytes(UTF_8))
                .build();
    }
}
